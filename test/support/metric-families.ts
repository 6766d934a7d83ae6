/** Prometheus text as a test sees it: per metric its type, help, label names and number of series. */
export interface MetricFamily {
  help: string
  type: string
  readonly labels: Set<string>
  series: number
}

/** Throws on a line that is no exposition, and on series without HELP and TYPE in front. */
export function metricFamilies(text: string): ReadonlyMap<string, MetricFamily> {
  const families = new Map<string, MetricFamily>()
  for (const line of text.split('\n')) {
    if (line === '' || line === '# EOF') continue
    const [, keyword, name = '', rest = ''] = /^# (HELP|TYPE) (\S+) ?(.*)$/.exec(line) ?? []
    if (keyword !== undefined) {
      const family = families.get(name) ?? { help: '', type: '', labels: new Set(), series: 0 }
      families.set(name, family)
      if (keyword === 'HELP') family.help = rest
      else family.type = rest
      continue
    }
    const [, sample = '', labels = ''] = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? \S+$/.exec(line) ?? []
    const family =
      families.get(sample) ?? families.get(sample.replace(/_(bucket|sum|count|total)$/, ''))
    if (sample === '' || family === undefined) throw new Error(`unexpected line: ${line}`)
    family.series++
    for (const [, label = ''] of labels.matchAll(/([a-zA-Z_]\w*)="(?:[^"\\]|\\.)*"/g))
      family.labels.add(label)
  }
  return families
}
