/**
 * Users and tokens in the control tree: `users/<name>` with grants and the hash of a password,
 * `tokens/<id>` with grants and the hash of a secret, `token-uses/<id>` with the time of its last use. A secret is 256 random bits, so one round of
 * sha256 is enough for it; a password is not, and has scrypt.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { Check } from 'typebox/value'
import {
  Grant,
  type NewToken,
  type Token,
  type TokenRequest,
  type User,
  type UserEdit,
} from './api/access.ts'
import type { Author } from './journal.ts'
import type { Passwords } from './passwords.ts'
import { ApiError, badField } from './problem.ts'
import { type JsonObject, type Registry, type RegistryEntry, stringOf } from './registry.ts'
import type { Precondition } from './table-edits.ts'
import type { TokenUses } from './token-uses.ts'

const TOKENS_MAX = 10_000
const DAY_MS = 86_400_000
const anything: Precondition = { ifMatch: '*' }

export class Accounts {
  readonly #users: Registry
  readonly #tokens: Registry
  readonly #uses: TokenUses
  readonly #passwords: Passwords
  readonly #wallMs: () => number

  constructor(parts: {
    readonly users: Registry
    readonly tokens: Registry
    readonly uses: TokenUses
    readonly passwords: Passwords
    readonly wallMs: () => number
  }) {
    this.#users = parts.users
    this.#tokens = parts.tokens
    this.#uses = parts.uses
    this.#passwords = parts.passwords
    this.#wallMs = parts.wallMs
  }

  async loaded(): Promise<void> {
    await Promise.all([this.#users.loaded(), this.#tokens.loaded()])
  }

  users(): User[] {
    return this.#users.list().map(describeUser)
  }

  user(name: string): User {
    const entry = this.#users.get(name)
    if (entry === undefined) throw new ApiError('not-found', `no user ${name}`)
    return describeUser(entry)
  }

  /** Undefined when there is none, or when he is shut out. */
  activeUser(name: string): User | undefined {
    const entry = this.#users.get(name)
    const user = entry && describeUser(entry)
    return user?.disabled === false ? user : undefined
  }

  /** The user with this password. */
  async verify(name: string, password: string): Promise<User | undefined> {
    const entry = this.#users.get(name)
    const isRight = await this.#passwords.verify(password, stringOf(entry?.value['password']))
    return isRight ? this.activeUser(name) : undefined
  }

  async putUser(
    author: Author,
    name: string,
    edit: UserEdit,
    precondition: Precondition,
  ): Promise<User> {
    const hash = edit.password === undefined ? undefined : await this.#passwords.hash(edit.password)
    const make = (current: RegistryEntry | undefined): JsonObject => {
      const password = hash ?? stringOf(current?.value['password'])
      if (password === undefined) throw badField('password', 'a new user needs one')
      const value = {
        ...(edit.displayName === undefined ? {} : { displayName: edit.displayName }),
        grants: edit.grants,
        disabled: edit.disabled === true,
        password,
      }
      this.#keepAnAdmin(name, value.disabled ? [] : value.grants)
      return value
    }
    const entry = await this.#users.change(author, name, precondition, make, {
      auditText: withoutSecrets,
    })
    if (entry === undefined)
      throw new ApiError('zookeeper-unavailable', 'changed, but not read back')
    return describeUser(entry)
  }

  async setPassword(author: Author, name: string, password: string): Promise<void> {
    const hash = await this.#passwords.hash(password)
    const make = (current: RegistryEntry | undefined): JsonObject => ({
      ...current?.value,
      password: hash,
    })
    await this.#users.change(author, name, anything, make, { auditText: withoutSecrets })
  }

  async removeUser(author: Author, name: string, precondition: Precondition): Promise<void> {
    const make = (): null => {
      this.#keepAnAdmin(name, [])
      return null
    }
    await this.#users.change(author, name, precondition, make, { auditText: withoutSecrets })
  }

  tokens(): Token[] {
    return this.#tokens.list().map((entry) => {
      const lastUsedAt = this.#uses.lastUsedAt(entry.name)
      return { ...describeToken(entry), ...(lastUsedAt === undefined ? {} : { lastUsedAt }) }
    })
  }

  async newToken(author: Author, owner: string, request: TokenRequest): Promise<NewToken> {
    if (this.#tokens.list().length >= TOKENS_MAX) throw new ApiError('busy', 'too many tokens')
    const id = randomBytes(6).toString('hex')
    const secret = randomBytes(32).toString('base64url')
    const nowMs = this.#wallMs()
    const { name, grants, days } = request
    const value = {
      name,
      owner,
      grants,
      createdAt: new Date(nowMs).toISOString(),
      ...(days === undefined ? {} : { expiresAt: new Date(nowMs + days * DAY_MS).toISOString() }),
      secret: sha256(secret),
    }
    const precondition = { ifNoneMatch: '*' }
    const entry = await this.#tokens.change(author, id, precondition, () => value, {
      auditText: withoutSecrets,
    })
    if (entry === undefined) throw new ApiError('zookeeper-unavailable', 'made, but not read back')
    return { token: describeToken(entry), secret: `mp_${id}_${secret}` }
  }

  async removeToken(author: Author, id: string): Promise<void> {
    await this.#tokens.change(author, id, anything, () => null, { auditText: withoutSecrets })
    this.#uses.forget(id)
  }

  /** The token that this text is; undefined when it is none, or its time is over. */
  tokenOf(text: string): Token | undefined {
    const [, id = '', secret = ''] = /^mp_([0-9a-f]{12})_([A-Za-z0-9_-]{43})$/.exec(text) ?? []
    const entry = this.#tokens.get(id)
    const expected = Buffer.from(stringOf(entry?.value['secret']) ?? '', 'hex')
    const found = Buffer.from(sha256(secret), 'hex')
    if (entry === undefined || expected.length !== found.length) return undefined
    if (!timingSafeEqual(expected, found)) return undefined
    const token = describeToken(entry)
    const isOver = token.expiresAt !== undefined && Date.parse(token.expiresAt) <= this.#wallMs()
    if (isOver) return undefined
    this.#uses.used(id)
    return token
  }

  /** Removes what is left of tokens that have gone. */
  async tidy(): Promise<void> {
    await this.#tokens.loaded()
    this.#uses.tidy((id) => this.#tokens.get(id) !== undefined)
  }

  close(): void {
    this.#uses.close()
    this.#users.close()
    this.#tokens.close()
  }

  /** Without one, nobody could give rights any more. */
  #keepAnAdmin(name: string, grants: readonly Grant[]): void {
    const isAdmin = (all: readonly Grant[]): boolean => all.some(({ role }) => role === 'admin')
    const others = this.users().filter((user) => user.name !== name && !user.disabled)
    const wasAdmin = isAdmin(this.activeUser(name)?.grants ?? [])
    if (wasAdmin && !isAdmin(grants) && !others.some((user) => isAdmin(user.grants)))
      throw new ApiError('in-use', `${name} is the last administrator`)
  }
}

/** For audit: whose hashes nobody needs to see. */
function withoutSecrets(value: JsonObject): string {
  const { password: _password, secret: _secret, ...rest } = value
  return JSON.stringify(rest)
}

function grantsOf(value: unknown): Grant[] {
  return Array.isArray(value) ? value.filter((one): one is Grant => Check(Grant, one)) : []
}

function describeUser({ name, value, etag, version, modifiedAt }: RegistryEntry): User {
  const displayName = stringOf(value['displayName'])
  return {
    name,
    ...(displayName === undefined ? {} : { displayName }),
    grants: grantsOf(value['grants']),
    disabled: value['disabled'] === true,
    etag,
    version,
    modifiedAt,
  }
}

function describeToken({ name: id, value, modifiedAt }: RegistryEntry): Token {
  const expiresAt = stringOf(value['expiresAt'])
  return {
    id,
    name: stringOf(value['name']) ?? '',
    owner: stringOf(value['owner']) ?? '',
    grants: grantsOf(value['grants']),
    createdAt: stringOf(value['createdAt']) ?? modifiedAt,
    ...(expiresAt === undefined ? {} : { expiresAt }),
  }
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
