/**
 * The built admin page (`dist/admin-ui`), when it is there: hashed files for ever, everything else
 * checked again, and `index.html` for every address that the page makes up itself. Answers everybody:
 * there is nothing in it but the program, which asks the API.
 */
import fastifyStatic from '@fastify/static'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const folder = fileURLToPath(new URL('../../admin-ui/', import.meta.url))
const INDEX = 'index.html'

export function isPageThere(): boolean {
  return existsSync(`${folder}${INDEX}`)
}

export async function servePage(app: Pick<FastifyInstance, 'register'>): Promise<void> {
  await app.register(fastifyStatic, {
    root: folder,
    wildcard: false,
    index: [INDEX],
    cacheControl: false,
    schemaHide: true,
    setHeaders: (reply, path) => {
      const isHashed = path.includes('/assets/')
      void reply.header(
        'cache-control',
        isHashed ? 'public, max-age=31536000, immutable' : 'no-cache',
      )
    },
  })
}

/** An address of the page: no file, no API. */
export function isPageRoute({ method, url, headers }: FastifyRequest): boolean {
  if (method !== 'GET' || !(headers.accept ?? '').includes('text/html')) return false
  const path = url.split('?')[0] ?? ''
  return !path.startsWith('/api/') && !/\.[a-z0-9]+$/i.test(path.split('/').at(-1) ?? '')
}

export function sendIndex(reply: FastifyReply): FastifyReply {
  return reply.sendFile(INDEX)
}
