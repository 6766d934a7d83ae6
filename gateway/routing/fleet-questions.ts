/**
 * Questions to all gateways of a fleet, through ZooKeeper and nothing else (gateway.md L-5): who asked
 * for this table, what do you serve for it, how are you. There are a few places for questions:
 *
 *     questions/<place>/question       ephemeral, of who asks:   {"id", "asker", "kind", …}
 *     questions/<place>/<gateway id>   ephemeral, of who answers: {"id", "answer"}, compressed
 *
 * Gateways watch the question of each place, which need not be there; who asks watches the children of
 * one place. So an answer wakes nobody but the asker, there are never more questions at once than
 * places, and what a dead process left goes with its session. A gateway takes its answer away when
 * the question has gone. Pure.
 */
import { gunzipSync, gzipSync } from 'node:zlib'
import { isTableName, parseObject } from './mapping.ts'

export type FleetQuestion =
  /** Who asked for the table in the last day: `ClientsAnswer`. */
  | { readonly kind: 'clients'; readonly table: string }
  /** What clients are answered who ask for it: `RouteAnswer`. */
  | { readonly kind: 'route'; readonly table: string }
  /** How often each table was asked for so far: `RatesAnswer`. */
  | { readonly kind: 'rates' }
  /** One gateway's last errors and configuration: `GatewayAnswer`. */
  | { readonly kind: 'gateway'; readonly gateway: string }

export interface AskedQuestion {
  /** Unique; an answer to another question may still be in the place. */
  readonly id: string
  /** Id of the gateway that asks, which does not answer itself this way. */
  readonly asker: string
  readonly question: FleetQuestion
}

/** Questions at once in a fleet. */
export const PLACES = 4
/** Of an answer as it is stored. Clients of a table take a tenth of their JSON. */
export const ANSWER_BYTES_MAX = 64 << 10
/** Of an answer as JSON. */
export const ANSWER_TEXT_MAX = 256 << 10
const QUESTION_BYTES_MAX = 4096
const ID_MAX = 300

export function placePath(controlRoot: string, place: number): string {
  return `${controlRoot}/questions/${place}`
}

/** No gateway's id: they end with a dash and six digits. */
export const QUESTION_NODE = 'question'

export function encodeQuestion({ id, asker, question }: AskedQuestion): Buffer {
  return Buffer.from(JSON.stringify({ id, asker, ...question }))
}

/** Undefined for what is none, or one of a later version. */
export function parseQuestion(data: Buffer): AskedQuestion | undefined {
  const fields = parseObject(data, QUESTION_BYTES_MAX)
  if (!fields.ok) return undefined
  const { id, asker, kind, table, gateway } = fields.value
  if (!isText(id) || !isText(asker)) return undefined
  if ((kind === 'clients' || kind === 'route') && isText(table) && isTableName(table))
    return { id, asker, question: { kind, table } }
  if (kind === 'rates') return { id, asker, question: { kind } }
  if (kind === 'gateway' && isText(gateway)) return { id, asker, question: { kind, gateway } }
  return undefined
}

/** An answer that is too large says so instead. */
export function encodeAnswer(id: string, answer: unknown): Buffer {
  const text = Buffer.from(JSON.stringify({ id, answer }))
  const data = text.length > ANSWER_TEXT_MAX ? undefined : compressed(text)
  if (data !== undefined && data.length <= ANSWER_BYTES_MAX) return data
  const bytes = data?.length ?? text.length
  return compressed(Buffer.from(JSON.stringify({ id, problem: `an answer of ${bytes} bytes` })))
}

/** `answer` is left out when the gateway could not give one. Undefined: not to this question. */
export function parseAnswer(
  data: Buffer,
  id: string,
): { readonly answer?: unknown; readonly problem?: string } | undefined {
  const text = data.length > ANSWER_BYTES_MAX ? undefined : expanded(data)
  if (text === undefined) return undefined
  const fields = parseObject(text, ANSWER_TEXT_MAX)
  if (!fields.ok || fields.value['id'] !== id) return undefined
  const { answer, problem } = fields.value
  return answer === undefined ? { problem: isText(problem) ? problem : 'no answer' } : { answer }
}

/** Level 3 is nearly as small as the usual one, in half the time. */
function compressed(text: Buffer): Buffer {
  return gzipSync(text, { level: 3 })
}

function expanded(data: Buffer): Buffer | undefined {
  try {
    return gunzipSync(data, { maxOutputLength: ANSWER_TEXT_MAX })
  } catch {
    return undefined
  }
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= ID_MAX
}
