/**
 * As much of PromQL as says whether an expression makes sense: balanced brackets, known functions, and
 * which metrics it reads with which labels. It does not know types; Prometheus itself does.
 */
export interface PromExpression {
  readonly metrics: readonly {
    readonly name: string
    readonly matchers: readonly {
      readonly label: string
      readonly operator: string
      readonly value: string
    }[]
  }[]
  /** Of `by (…)` and its like. */
  readonly groupLabels: readonly string[]
}

const functions = new Set(
  `sum min max avg count topk bottomk quantile stddev group rate irate increase delta deriv
  histogram_quantile absent vector scalar abs ceil floor round clamp clamp_min clamp_max
  changes resets time label_replace sort sort_desc max_over_time min_over_time avg_over_time
  sum_over_time count_over_time last_over_time`.split(/\s+/),
)
const listKeywords = new Set(['by', 'without', 'on', 'ignoring', 'group_left', 'group_right'])
const keywords = new Set(['or', 'and', 'unless', 'bool', 'offset', 'inf', 'nan'])

type Token = { readonly kind: 'name' | 'text' | 'number' | 'sign'; readonly text: string }

function tokensOf(expression: string): Token[] {
  const pattern =
    /\s+|("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|([a-zA-Z_:][\w:]*)|(\d+(?:\.\d+)?(?:ms|[smhdwy])?)|(=~|!~|!=|==|>=|<=|[-+*/%^(){}[\],=<>])/gy
  const tokens: Token[] = []
  while (pattern.lastIndex < expression.length) {
    const at = pattern.lastIndex
    const found = pattern.exec(expression)
    if (found === null) throw new Error(`not understood: ${expression.slice(at, at + 20)}`)
    const [, text, name, number, sign] = found
    if (text !== undefined) tokens.push({ kind: 'text', text: text.slice(1, -1) })
    else if (name !== undefined) tokens.push({ kind: 'name', text: name })
    else if (number !== undefined) tokens.push({ kind: 'number', text: number })
    else if (sign !== undefined) tokens.push({ kind: 'sign', text: sign })
  }
  return tokens
}

function checkBrackets(tokens: readonly Token[]): void {
  const closing: Readonly<Record<string, string>> = { '(': ')', '{': '}', '[': ']' }
  const open: string[] = []
  for (const { kind, text } of tokens) {
    if (kind !== 'sign') continue
    const end = closing[text]
    if (end !== undefined) open.push(end)
    else if (')}]'.includes(text) && open.pop() !== text) throw new Error(`unexpected ${text}`)
  }
  if (open.length > 0) throw new Error(`${open.join('')} is missing`)
}

/** Throws with the reason. */
export function parsePromql(expression: string): PromExpression {
  const tokens = tokensOf(expression)
  if (tokens.length === 0) throw new Error('empty')
  checkBrackets(tokens)
  const metrics: {
    name: string
    matchers: { label: string; operator: string; value: string }[]
  }[] = []
  const groupLabels: string[] = []
  const textAt = (at: number): string => tokens[at]?.text ?? ''
  for (let at = 0; at < tokens.length; at++) {
    const token = tokens[at]
    if (token?.kind !== 'name' || keywords.has(token.text)) continue
    if (listKeywords.has(token.text)) {
      if (textAt(++at) !== '(') throw new Error(`${token.text} without a list`)
      for (at++; textAt(at) !== ')'; at++) if (textAt(at) !== ',') groupLabels.push(textAt(at))
      continue
    }
    if (functions.has(token.text)) {
      if (textAt(at + 1) !== '(' && !listKeywords.has(textAt(at + 1)))
        throw new Error(`${token.text} without arguments`)
      continue
    }
    if (textAt(at + 1) === '(') throw new Error(`unknown function ${token.text}`)
    const metric = { name: token.text, matchers: [] as (typeof metrics)[number]['matchers'] }
    metrics.push(metric)
    if (textAt(at + 1) !== '{') continue
    for (at += 2; textAt(at) !== '}'; at++) {
      if (textAt(at) === ',') continue
      metric.matchers.push({ label: textAt(at), operator: textAt(at + 1), value: textAt(at + 2) })
      if (!/^(=|!=|=~|!~)$/.test(textAt(at + 1)) || tokens[at + 2]?.kind !== 'text')
        throw new Error(`a matcher of ${token.text} is none`)
      at += 2
    }
  }
  if (metrics.length === 0) throw new Error('no metric')
  return { metrics, groupLabels }
}
