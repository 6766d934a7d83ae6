/**
 * What a request makes of a table's envs: set, delete, clear (meta-server.md 14). A bad key or value
 * refuses the whole request with a hint. Which values are fine is in `app-envs.ts`.
 */
import { AppStatus } from '../protocol/layer2.ts'
import { AppEnvOperation, type ConfigurationUpdateAppEnvRequest } from '../protocol/meta-admin.ts'
import { envProblem } from './app-envs.ts'
import type { Step } from './effects.ts'
import { change } from './tables.ts'

interface EnvChange {
  readonly set: ReadonlyMap<string, string>
  readonly remove: readonly string[]
  readonly hint: string
}

/** What the request makes of the envs, or the hint why it is refused. */
function envChange(
  envs: ReadonlyMap<string, string>,
  request: ConfigurationUpdateAppEnvRequest,
): EnvChange | string {
  const { op, keys = [], values = [], clearPrefix } = request
  const nothing = new Map<string, string>()
  switch (op) {
    case AppEnvOperation.APP_ENV_OP_SET: {
      if (keys.length === 0 || keys.length !== values.length) return ''
      const set = new Map(keys.map((key, at) => [key, values[at] ?? '']))
      for (const [key, value] of set) {
        const problem = envProblem(key, value)
        if (problem !== undefined) return problem
      }
      return { set, remove: [], hint: '' }
    }
    case AppEnvOperation.APP_ENV_OP_DEL: {
      if (keys.length === 0) return ''
      const remove = keys.filter((key) => envs.has(key))
      return { set: nothing, remove, hint: removedHint(remove) }
    }
    case AppEnvOperation.APP_ENV_OP_CLEAR: {
      if (clearPrefix === undefined) return ''
      const start = `${clearPrefix}.`
      const remove = [...envs.keys()].filter(
        (key) => clearPrefix === '' || (key.startsWith(start) && key.length > start.length),
      )
      return { set: nothing, remove, hint: removedHint(remove) }
    }
    default:
      return `operation ${op}: expected 1 (set), 2 (delete) or 3 (clear)`
  }
}

function removedHint(keys: readonly string[]): string {
  return keys.length === 0 ? 'no key needs to be deleted' : `deleted keys: ${keys.join(', ')}`
}

export function updateEnvs(
  step: Step,
  requester: number,
  request: ConfigurationUpdateAppEnvRequest,
): void {
  const answer = (err: string, hint: string): void => {
    step.effects.push({ type: 'answer', requester, answer: { type: 'envs-updated', err, hint } })
  }
  const app = step.state.names.get(request.appName)
  if (app === undefined) {
    answer('ERR_APP_NOT_EXIST', 'app cannot be found')
    return
  }
  const { status, envs } = app.info
  if (status === AppStatus.AS_DROPPING) {
    answer('ERR_BUSY_DROPPING', 'the table is being dropped')
    return
  }
  if (status !== AppStatus.AS_AVAILABLE) {
    answer('ERR_BUSY_CREATING', 'the table is being created')
    return
  }
  const wanted = envChange(envs, request)
  if (typeof wanted === 'string') {
    answer('ERR_INVALID_PARAMETERS', wanted)
    return
  }
  if (wanted.set.size === 0 && wanted.remove.length === 0) {
    answer('ERR_OK', wanted.hint)
    return
  }
  change(step, app, { kind: 'envs', requester, ...wanted })
}
