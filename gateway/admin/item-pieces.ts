/**
 * Long lists in the control tree: `<path>/0`, `<path>/1`, … hold a JSON list each, below ZooKeeper's limit
 * for a node, so that neither writing nor reading ten thousand items is one long turn.
 */
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'

const PIECE_BYTES = 200_000

/** Each of at most 200 kB, but for an item that is larger itself. */
export function* piecesOf(items: readonly object[]): Generator<Buffer> {
  let texts: string[] = []
  let bytes = 0
  for (const item of items) {
    const text = JSON.stringify(item)
    const size = Buffer.byteLength(text) + 1
    if (bytes + size > PIECE_BYTES && bytes > 0) {
      yield Buffer.from(`[${texts.join(',')}]`)
      texts = []
      bytes = 0
    }
    texts.push(text)
    bytes += size
  }
  if (bytes > 0) yield Buffer.from(`[${texts.join(',')}]`)
}

/** Rejects with a `CoordinatorError`. The caller says what the items are. */
export async function readPieces(
  coordinator: Coordinator,
  path: string,
  count: number,
): Promise<unknown[]> {
  const items: unknown[] = []
  for (let index = 0; index < count; index++) {
    const { data } = await coordinator.get(`${path}/${index}`)
    items.push(...(JSON.parse(data.toString('utf8')) as readonly unknown[]))
  }
  return items
}

/** A node and what is below it. Rejects with a `CoordinatorError`. */
export async function removeWithPieces(coordinator: Coordinator, path: string): Promise<void> {
  for (const name of await coordinator.children(path))
    await coordinator.remove(`${path}/${name}`).catch(() => undefined)
  await coordinator.remove(path)
}
