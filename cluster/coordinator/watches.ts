/**
 * Who wants to hear of which change: the server's side of watches, shared by the coordination in
 * memory and by the embedded server. Pure bookkeeping; a subscriber is whatever the owner uses for
 * one client connection. Semantics: ZooKeeper's one-shot data, exist and child watches, where one
 * deletion reaches a subscriber once even if it watched both the node and its children.
 */
import type { Tree, TreeEvent } from './tree.ts'

/** What a client watched before its connection broke. */
export interface WatchedPaths {
  /** Nodes that existed when they were read. */
  readonly data: readonly string[]
  /** Nodes that did not exist when they were asked for. */
  readonly exist: readonly string[]
  readonly child: readonly string[]
}

export class WatchTable<Subscriber> {
  readonly #node = new Map<string, Set<Subscriber>>()
  readonly #child = new Map<string, Set<Subscriber>>()
  readonly #bySubscriber = new Map<Subscriber, { node: Set<string>; child: Set<string> }>()

  /** `node` hears of creation, change and deletion; `child` of children and deletion. */
  add(kind: 'node' | 'child', path: string, subscriber: Subscriber): void {
    const table = kind === 'node' ? this.#node : this.#child
    const subscribers = table.get(path)
    if (subscribers === undefined) table.set(path, new Set([subscriber]))
    else subscribers.add(subscriber)
    let paths = this.#bySubscriber.get(subscriber)
    if (paths === undefined) {
      paths = { node: new Set(), child: new Set() }
      this.#bySubscriber.set(subscriber, paths)
    }
    paths[kind].add(path)
  }

  /** Takes the watches that the event ends; each subscriber at most once. */
  take(event: TreeEvent): readonly Subscriber[] {
    const reached = new Set<Subscriber>()
    if (event.type !== 'children') this.#takeFrom('node', event.path, reached)
    if (event.type === 'children' || event.type === 'deleted')
      this.#takeFrom('child', event.path, reached)
    return [...reached]
  }

  removeSubscriber(subscriber: Subscriber): void {
    const paths = this.#bySubscriber.get(subscriber)
    if (paths === undefined) return
    for (const path of paths.node) this.#drop(this.#node, path, subscriber)
    for (const path of paths.child) this.#drop(this.#child, path, subscriber)
    this.#bySubscriber.delete(subscriber)
  }

  count(): number {
    let count = 0
    for (const { node, child } of this.#bySubscriber.values()) count += node.size + child.size
    return count
  }

  /** Watches of a client that comes back; returns the events that it has missed since `zxid`. */
  rearm(tree: Tree, subscriber: Subscriber, zxid: bigint, paths: WatchedPaths): TreeEvent[] {
    const missed: TreeEvent[] = []
    for (const path of paths.data) {
      const node = tree.node(path)
      if (node === undefined) missed.push({ type: 'deleted', path })
      else if (node.modifiedZxid > zxid) missed.push({ type: 'changed', path })
      else this.add('node', path, subscriber)
    }
    for (const path of paths.exist)
      if (tree.node(path) === undefined) this.add('node', path, subscriber)
      else missed.push({ type: 'created', path })
    for (const path of paths.child) {
      const node = tree.node(path)
      if (node === undefined) missed.push({ type: 'deleted', path })
      else if (node.childrenZxid > zxid) missed.push({ type: 'children', path })
      else this.add('child', path, subscriber)
    }
    return missed
  }

  #takeFrom(kind: 'node' | 'child', path: string, reached: Set<Subscriber>): void {
    const table = kind === 'node' ? this.#node : this.#child
    const subscribers = table.get(path)
    if (subscribers === undefined) return
    table.delete(path)
    for (const subscriber of subscribers) {
      reached.add(subscriber)
      this.#bySubscriber.get(subscriber)?.[kind].delete(path)
    }
  }

  #drop(table: Map<string, Set<Subscriber>>, path: string, subscriber: Subscriber): void {
    const subscribers = table.get(path)
    subscribers?.delete(subscriber)
    if (subscribers?.size === 0) table.delete(path)
  }
}
