/**
 * Prometheus text → OpenMetrics text, and which of the two a scraper wants. Done on the text, because a
 * process with workers has nothing else to put together. The difference that matters: a counter's
 * family has no `_total`, its series always have, and the end is marked. Pure.
 */
export const PROMETHEUS_TYPE = 'text/plain; version=0.0.4; charset=utf-8'
export const OPEN_METRICS_TYPE = 'application/openmetrics-text; version=1.0.0; charset=utf-8'

/** The better liked one of an `Accept` header; plain text when it does not say. */
export function wantsOpenMetrics(accept: string | undefined): boolean {
  let open = 0
  let plain = 0
  for (const item of (accept ?? '').split(',')) {
    const [range = '', ...parameters] = item.split(';').map((part) => part.trim().toLowerCase())
    const given = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2) ?? '1'
    const quality = Number(given)
    if (!(quality > 0)) continue
    if (range === 'application/openmetrics-text') open = Math.max(open, quality)
    if (range === 'text/plain' || range === 'text/*') plain = Math.max(plain, quality)
  }
  return open > plain || (open > 0 && open === plain)
}

/** The page that answers a request with this `Accept` header. */
export function metricsPage(
  text: string,
  accept: string | undefined,
): { readonly contentType: string; readonly body: string } {
  return wantsOpenMetrics(accept)
    ? { contentType: OPEN_METRICS_TYPE, body: toOpenMetrics(text) }
    : { contentType: PROMETHEUS_TYPE, body: text }
}

export function toOpenMetrics(text: string): string {
  const lines: string[] = []
  let counter = ''
  const types = new Map(
    [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name = '', type = '']) => [name, type]),
  )
  for (const line of text.split('\n')) {
    if (line === '') continue
    const [, keyword = '', name = '', rest = ''] = /^# (HELP|TYPE) (\S+) ?(.*)$/.exec(line) ?? []
    if (keyword === '') {
      lines.push(counter === '' ? line : line.replace(counter, () => `${familyOf(counter)}_total`))
      continue
    }
    const isCounter = types.get(name) === 'counter'
    counter = isCounter ? name : ''
    // HELP holds its escapes as they are; both formats escape alike but for quotes.
    const shown = keyword === 'HELP' ? rest.replaceAll('"', '\\"') : rest
    lines.push(`# ${keyword} ${isCounter ? familyOf(name) : name} ${shown}`)
  }
  return `${[...lines, '# EOF'].join('\n')}\n`
}

function familyOf(counter: string): string {
  return counter.replace(/_total$/, '')
}
