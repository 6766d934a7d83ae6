/**
 * JSON bodies of megabytes: decoded piece by piece as they come, and parsed in a turn of their own.
 * fastify's parser joins, decodes, searches and parses all of it in one.
 */
import type { IncomingMessage } from 'node:http'
import { StringDecoder } from 'node:string_decoder'
import { ApiError } from './problem.ts'
import type { Api } from './requests.ts'

/** For all routes of the scope. Their schemas must allow no unknown keys: none is looked for here. */
export function takeLargeBodies(api: Api, bytesMax: number, pause: () => Promise<void>): void {
  api.removeContentTypeParser('application/json')
  api.addContentTypeParser('application/json', async (_request: unknown, body: IncomingMessage) => {
    const text = await textOf(body, bytesMax)
    await pause()
    return parseBody(text)
  })
}

/** Throws an `ApiError` that says where it is no JSON. */
export function parseBody(text: string): unknown {
  if (text.trim() === '') throw new ApiError('bad-request', 'the body is empty: expected JSON')
  try {
    return JSON.parse(text)
  } catch (error) {
    const reason = error instanceof Error ? error.message : ''
    throw new ApiError('bad-request', `the body is not JSON: ${reason.slice(0, 200)}`)
  }
}

async function textOf(body: IncomingMessage, bytesMax: number): Promise<string> {
  const tooLarge = new ApiError('too-large', `the body is larger than ${bytesMax} bytes`)
  if (Number(body.headers['content-length'] ?? 0) > bytesMax) throw tooLarge
  const decoder = new StringDecoder('utf8')
  let text = ''
  let bytes = 0
  try {
    // The rest is read and thrown away, so that the answer arrives.
    for await (const chunk of body.iterator({ destroyOnReturn: false })) {
      const piece = chunk as Buffer
      bytes += piece.length
      if (bytes > bytesMax) throw tooLarge
      text += decoder.write(piece)
    }
  } catch (error) {
    throw error === tooLarge ? error : new ApiError('bad-request', 'the body ended too early')
  }
  return text + decoder.end()
}
