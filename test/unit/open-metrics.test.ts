/** OpenMetrics by negotiation (gateway.md O-2): what a scraper asks for, and the text it gets. */
import t from 'tap'
import { metricsPage, toOpenMetrics, wantsOpenMetrics } from '../../cluster/runtime/open-metrics.ts'

void t.test('the better liked format wins, plain text when nobody says', (t) => {
  const prometheus =
    'application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2'
  t.ok(wantsOpenMetrics(prometheus))
  t.ok(wantsOpenMetrics('application/openmetrics-text'))
  t.ok(wantsOpenMetrics('text/plain;q=0.2, Application/OpenMetrics-Text; version=1.0.0'))
  for (const accept of [
    undefined,
    '',
    '*/*',
    'text/plain',
    'text/html, */*',
    'application/openmetrics-text;q=0',
    'application/openmetrics-text;q=0.1, text/plain',
    'application/openmetrics-text;q=oops',
  ])
    t.notOk(wantsOpenMetrics(accept), String(accept))
  t.match(metricsPage('x 1\n', undefined), { contentType: /^text\/plain/, body: 'x 1\n' })
  t.match(metricsPage('x 1\n', prometheus), { contentType: /openmetrics/, body: 'x 1\n# EOF\n' })
  t.end()
})

void t.test('counters lose _total in the family and have it in every series', (t) => {
  const text = `# HELP a_total Of "a".
# TYPE a_total counter
a_total{x="a_total 1"} 1
a_total{worker="2"} 3

# HELP zk_request_count Read.
# TYPE zk_request_count counter
zk_request_count{table="t"} 2
# HELP g Now.
# TYPE g gauge
g 1
# HELP d Time.
# TYPE d histogram
d_bucket{le="+Inf"} 1
d_sum 1
d_count 1
`
  t.equal(
    toOpenMetrics(text),
    `# HELP a Of \\"a\\".
# TYPE a counter
a_total{x="a_total 1"} 1
a_total{worker="2"} 3
# HELP zk_request_count Read.
# TYPE zk_request_count counter
zk_request_count_total{table="t"} 2
# HELP g Now.
# TYPE g gauge
g 1
# HELP d Time.
# TYPE d histogram
d_bucket{le="+Inf"} 1
d_sum 1
d_count 1
# EOF
`,
  )
  t.equal(toOpenMetrics(''), '# EOF\n')
  t.end()
})
