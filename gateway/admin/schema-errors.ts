/**
 * What a request's parts must look like, and in words what is wrong with them: one error for each field,
 * with what was expected there and what was found. A schema that has a pattern says in `x-expected`
 * what the pattern means. Pure.
 */
import type { FastifySchemaCompiler } from 'fastify'
import type { TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import type { TLocalizedValidationError as SchemaError } from 'typebox/error'
import { Settings } from 'typebox/system'
import { Convert } from 'typebox/value'
import type { FieldError } from './api/problem.ts'
import { ApiError } from './problem.ts'

const ERRORS_MAX = 100
const FOUND_CHARS_MAX = 100
// A union has an error for each of its members; by default the ninth and all after it are dropped.
Settings.Set({ maxErrors: 10 * ERRORS_MAX })

/** For fastify. Queries, parameters and headers are text, and are converted first. */
export const compileSchema: FastifySchemaCompiler<TSchema> = ({ schema, httpPart = 'body' }) => {
  const check = Compile(schema)
  return (given: unknown) => {
    const value = httpPart === 'body' ? given : Convert(schema, given)
    if (check.Check(value)) return { value }
    const errors = fieldErrorsOf(schema, value, check.Errors(value)).slice(0, ERRORS_MAX)
    return { error: invalid(errors, `${httpPart}: `) }
  }
}

/** Several fields at fault. */
export function invalid(errors: readonly FieldError[], where = ''): ApiError {
  const words = errors.map(({ field, message }) =>
    field === '' ? message : `${field}: ${message}`,
  )
  return new ApiError('bad-request', `${where}${words.join('; ')}`, { errors: [...errors] })
}

/** One for each field, in the order in which they were found. */
export function fieldErrorsOf(
  schema: TSchema,
  value: unknown,
  found: readonly SchemaError[],
): readonly FieldError[] {
  const missing: FieldError[] = []
  const wrong = new Map<string, SchemaError[]>()
  for (const error of withoutOtherVariants(found, value)) {
    const { keyword, params, instancePath } = error
    // Each unknown property has an error of its own; a union is told by its members.
    if (keyword === 'additionalProperties' || keyword === 'anyOf') continue
    if (keyword === 'required')
      for (const name of params.requiredProperties)
        missing.push({ field: fieldOf(`${instancePath}/${name}`), message: 'missing' })
    else wrong.set(instancePath, [...(wrong.get(instancePath) ?? []), error])
  }
  const rest = [...wrong].map(([path, errors]) => ({
    field: fieldOf(path),
    message: messageOf(schema, errors, at(value, path)),
  }))
  return [...missing, ...rest]
}

/**
 * A union of objects is told apart by its constants: of the variants whose constants fit, the one with
 * the fewest errors was meant; when none fits, the constants are what is wrong.
 */
function withoutOtherVariants(
  found: readonly SchemaError[],
  value: unknown,
): readonly SchemaError[] {
  let left = found
  for (const union of found) {
    const here = at(value, union.instancePath)
    if (union.keyword !== 'anyOf' || !isObject(here) || Array.isArray(here)) continue
    const prefix = `${union.schemaPath}/anyOf/`
    // Items of a list share the schema's path.
    const isOfUnion = ({ schemaPath, instancePath }: SchemaError): boolean =>
      schemaPath.startsWith(prefix) && `${instancePath}/`.startsWith(`${union.instancePath}/`)
    const variants = new Map<string, SchemaError[]>()
    for (const error of left.filter(isOfUnion)) {
      const [variant = ''] = error.schemaPath.slice(prefix.length).split('/', 1)
      variants.set(variant, [...(variants.get(variant) ?? []), error])
    }
    const [meant] = [...variants.values()]
      .filter((errors) => !errors.some(isConstant))
      .toSorted((one, other) => one.length - other.length)
    left = left.filter(
      (error) => !isOfUnion(error) || (meant?.includes(error) ?? isConstant(error)),
    )
  }
  return left
}

function messageOf(schema: TSchema, errors: readonly SchemaError[], found: unknown): string {
  const unknown = errors.find(({ keyword }) => keyword === 'boolean')
  if (unknown !== undefined) {
    const path = unknown.schemaPath.slice(1).replace(/\/additionalProperties$/, '/properties')
    return `unknown; known are ${Object.keys(Object(at(schema, path)) as object).join(', ')}`
  }
  // Where a constant does not fit, its type does not say more.
  const constants = new Set(errors.filter(isConstant).map(({ schemaPath }) => schemaPath))
  const expected = errors
    .filter((error) => isConstant(error) || !constants.has(error.schemaPath))
    .map((error) => expectation(error, at(schema, error.schemaPath.slice(1))))
  // Of a text that has the wrong length alone, the length: it may be a secret.
  const isOfLength = errors.every(({ keyword }) => keyword.endsWith('Length'))
  return `expected ${[...new Set(expected)].join(' or ')}, found ${isOfLength ? lengthOf(found) : shown(found)}`
}

function expectation(error: SchemaError, schema: unknown): string {
  const { keyword, params } = error
  if (keyword === 'const') return JSON.stringify(params.allowedValue)
  if (keyword === 'type')
    return [params.type]
      .flat()
      .map((type) => typeWords[type] ?? type)
      .join(' or ')
  if (keyword === 'pattern')
    return (schema as Expected | undefined)?.['x-expected'] ?? `text like ${String(params.pattern)}`
  if (keyword === 'format') return `a ${params.format}`
  const limit = 'limit' in params ? limitWords[keyword]?.(Number(params.limit)) : undefined
  return limit ?? `what ${error.message}`
}

const limitWords: Readonly<Record<string, (limit: number) => string>> = {
  minLength: (limit) => `at least ${counted(limit, 'character')}`,
  maxLength: (limit) => `at most ${counted(limit, 'character')}`,
  minItems: (limit) => `at least ${counted(limit, 'item')}`,
  maxItems: (limit) => `at most ${counted(limit, 'item')}`,
  minimum: (limit) => `at least ${limit}`,
  maximum: (limit) => `at most ${limit}`,
}

interface Expected {
  readonly 'x-expected'?: string
}

const typeWords: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  integer: 'a whole number',
  boolean: 'true or false',
  object: 'an object',
  array: 'a list',
}

function isConstant({ keyword }: SchemaError): boolean {
  return keyword === 'const'
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

function lengthOf(value: unknown): string {
  return counted(typeof value === 'string' ? value.length : 0, 'character')
}

function shown(value: unknown): string {
  if (Array.isArray(value))
    return value.length === 0 ? 'an empty list' : `a list of ${value.length}`
  if (isObject(value)) return 'an object'
  return (JSON.stringify(value) ?? 'nothing').slice(0, FOUND_CHARS_MAX)
}

/** What a JSON pointer leads to. */
function at(value: unknown, pointer: string): unknown {
  let here = value
  for (const key of steps(pointer))
    here = isObject(here) && Object.hasOwn(here, key) ? here[key] : undefined
  return here
}

/** `/metas/0` → `metas.0` */
function fieldOf(pointer: string): string {
  return steps(pointer).join('.')
}

function steps(pointer: string): readonly string[] {
  const escaped = pointer.split('/').slice(1)
  return escaped.map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))
}
