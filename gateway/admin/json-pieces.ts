/**
 * The JSON of an object with one long list, in pieces: what has ten thousand rows is made as the network
 * takes it, a little in each turn, and holds up nobody else.
 */
const TOGETHER = 50

/** `list` comes last, under its name; `pause` lets others run. */
export async function* jsonPieces(
  facts: Readonly<Record<string, unknown>>,
  name: string,
  list: readonly unknown[],
  pause: () => Promise<void>,
): AsyncGenerator<string> {
  const head = JSON.stringify(facts).slice(0, -1)
  yield `${head}${head === '{' ? '' : ','}${JSON.stringify(name)}:[`
  for (let at = 0; at < list.length; at += TOGETHER) {
    const texts = list.slice(at, at + TOGETHER).map((item) => JSON.stringify(item))
    yield `${at === 0 ? '' : ','}${texts.join(',')}`
    await pause()
  }
  yield ']}'
}
