/**
 * Several processes' Prometheus texts as one: every series gets the label `worker`, and each
 * metric's help and type stand once, before all its series. Pure.
 */
export function mergeMetricTexts(
  texts: readonly { readonly worker: string; readonly text: string }[],
): string {
  const families = new Map<string, { readonly head: string[]; readonly series: string[] }>()
  for (const { worker, text } of texts) {
    let family: { readonly head: string[]; readonly series: string[] } | undefined
    for (const line of text.split('\n')) {
      const [, keyword, name] = /^# (HELP|TYPE) (\S+)/.exec(line) ?? []
      if (name !== undefined) {
        family = families.get(name) ?? { head: [], series: [] }
        families.set(name, family)
        if (!family.head.some((known) => known.startsWith(`# ${keyword} `))) family.head.push(line)
      } else if (line !== '' && !line.startsWith('#')) family?.series.push(labelled(line, worker))
    }
  }
  const blocks = [...families.values()].flatMap(({ head, series }) => [...head, ...series])
  return blocks.length === 0 ? '' : `${blocks.join('\n')}\n`
}

/** `name 1` → `name{worker="1"} 1`, `name{a="b"} 1` → `name{worker="1",a="b"} 1`. */
function labelled(line: string, worker: string): string {
  const brace = line.indexOf('{')
  const space = line.indexOf(' ')
  if (brace < 0 || (space >= 0 && space < brace))
    return `${line.slice(0, space)}{worker="${worker}"}${line.slice(space)}`
  return `${line.slice(0, brace + 1)}worker="${worker}",${line.slice(brace + 1)}`
}
