/** People who log in at a gateway's admin port, and their programs. */
import { NewToken, SessionInfo, type Grant } from '../../gateway/admin/api/access.ts'
import { type Call, callOf, create } from './admin-world.ts'
import { until } from './gateway-world.ts'

/** Everybody's. */
export const PASSWORD = 'correct horse battery'

export async function logIn(address: string, name: string): Promise<Call> {
  const answer = await callOf(address)('POST', '/session', { body: { name, password: PASSWORD } })
  if (answer.status !== 200) throw new Error(answer.text)
  const [cookie = ''] = (answer.headers.get('set-cookie') ?? '').split(';')
  const csrf = answer.as(SessionInfo).csrfToken ?? ''
  return callOf(address, { cookie, 'x-csrf-token': csrf })
}

/** The first administrator makes himself. */
export async function logInAsAdmin(address: string): Promise<Call> {
  let call: Call | undefined
  await until(async () => {
    call = await logIn(address, 'admin').catch(() => undefined)
    return call !== undefined
  })
  if (call === undefined) throw new Error('no administrator')
  return call
}

/** A new user, logged in. */
export async function hire(
  asAdmin: Call,
  address: string,
  name: string,
  grants: readonly Grant[],
): Promise<Call> {
  const body = { grants, password: PASSWORD }
  const made = await asAdmin('PUT', `/users/${name}`, { body, headers: create })
  if (made.status !== 200) throw new Error(made.text)
  return logIn(address, name)
}

export async function tokenOf(
  by: Call,
  address: string,
  name: string,
  grants: readonly Grant[],
): Promise<Call> {
  const made = (await by('POST', '/tokens', { body: { name, grants } })).as(NewToken)
  return callOf(address, { authorization: `Bearer ${made.secret}` })
}
