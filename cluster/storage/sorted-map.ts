/**
 * A persistent sorted map from byte keys to byte values: every change makes a new map that shares
 * all but a path with the old one. So a snapshot is a reference, and the history of an engine is a
 * list of references. An AVL tree; a change costs O(log n) new nodes. Pure.
 */

interface Node {
  readonly key: Buffer
  readonly value: Buffer
  readonly left: Node | undefined
  readonly right: Node | undefined
  readonly height: number
  readonly count: number
}

/** `undefined` is the empty map. */
export type SortedMap = Node | undefined

export function mapSize(map: SortedMap): number {
  return map?.count ?? 0
}

export function mapGet(map: SortedMap, key: Buffer): Buffer | undefined {
  let node = map
  while (node !== undefined) {
    const order = Buffer.compare(key, node.key)
    if (order === 0) return node.value
    node = order < 0 ? node.left : node.right
  }
  return undefined
}

/** Keeps the buffers: the caller must not change them afterwards. */
export function mapSet(map: SortedMap, key: Buffer, value: Buffer): Node {
  if (map === undefined) return join(undefined, key, value, undefined)
  const order = Buffer.compare(key, map.key)
  if (order === 0) return join(map.left, key, value, map.right)
  if (order < 0) return balance(mapSet(map.left, key, value), map.key, map.value, map.right)
  return balance(map.left, map.key, map.value, mapSet(map.right, key, value))
}

/** The same map when the key is absent. */
export function mapDelete(map: SortedMap, key: Buffer): SortedMap {
  if (map === undefined) return undefined
  const order = Buffer.compare(key, map.key)
  if (order < 0) {
    const left = mapDelete(map.left, key)
    return left === map.left ? map : balance(left, map.key, map.value, map.right)
  }
  if (order > 0) {
    const right = mapDelete(map.right, key)
    return right === map.right ? map : balance(map.left, map.key, map.value, right)
  }
  if (map.left === undefined) return map.right
  if (map.right === undefined) return map.left
  const next = first(map.right)
  return balance(map.left, next.key, next.value, mapDelete(map.right, next.key))
}

/**
 * The entry with the smallest key that is not below `key` (`inclusive`) or above it; without a key
 * the first entry.
 */
export function mapNext(
  map: SortedMap,
  key: Buffer | undefined,
  inclusive: boolean,
): readonly [Buffer, Buffer] | undefined {
  let found: Node | undefined
  let node = map
  while (node !== undefined) {
    const order = key === undefined ? -1 : Buffer.compare(key, node.key)
    if (order < 0 || (order === 0 && inclusive)) {
      found = node
      node = node.left
    } else node = node.right
  }
  return found === undefined ? undefined : [found.key, found.value]
}

/** The mirror image of `mapNext`: the largest key that is not above `key`, or below it. */
export function mapPrevious(
  map: SortedMap,
  key: Buffer | undefined,
  inclusive: boolean,
): readonly [Buffer, Buffer] | undefined {
  let found: Node | undefined
  let node = map
  while (node !== undefined) {
    const order = key === undefined ? 1 : Buffer.compare(key, node.key)
    if (order > 0 || (order === 0 && inclusive)) {
      found = node
      node = node.right
    } else node = node.left
  }
  return found === undefined ? undefined : [found.key, found.value]
}

function first(map: Node): Node {
  let node = map
  while (node.left !== undefined) node = node.left
  return node
}

function join(left: SortedMap, key: Buffer, value: Buffer, right: SortedMap): Node {
  return {
    key,
    value,
    left,
    right,
    height: 1 + Math.max(left?.height ?? 0, right?.height ?? 0),
    count: 1 + mapSize(left) + mapSize(right),
  }
}

/** Joins two subtrees whose heights differ by two at most. */
function balance(left: SortedMap, key: Buffer, value: Buffer, right: SortedMap): Node {
  const leftHeight = left?.height ?? 0
  const rightHeight = right?.height ?? 0
  if (left !== undefined && leftHeight > rightHeight + 1) {
    const inner = left.right
    if (inner === undefined || (left.left?.height ?? 0) >= inner.height)
      return join(left.left, left.key, left.value, join(inner, key, value, right))
    return join(
      join(left.left, left.key, left.value, inner.left),
      inner.key,
      inner.value,
      join(inner.right, key, value, right),
    )
  }
  if (right !== undefined && rightHeight > leftHeight + 1) {
    const inner = right.left
    if (inner === undefined || (right.right?.height ?? 0) >= inner.height)
      return join(join(left, key, value, inner), right.key, right.value, right.right)
    return join(
      join(left, key, value, inner.left),
      inner.key,
      inner.value,
      join(inner.right, right.key, right.value, right.right),
    )
  }
  return join(left, key, value, right)
}
