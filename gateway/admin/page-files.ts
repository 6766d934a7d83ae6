/**
 * The built admin page (`dist/admin-ui/page`), when it is there: hashed files for ever, everything else
 * checked again, and `index.html` for every address that the page makes up itself. Answers everybody:
 * there is nothing in it but the program, which asks the API.
 */
import fastifyStatic from '@fastify/static'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const folder = fileURLToPath(new URL('../../admin-ui/page/', import.meta.url))
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
    preCompressed: true,
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
  // A name in it may well end like a file: /tables/orders.v2 is a page.
  return !url.startsWith('/api/') && !url.startsWith('/assets/')
}

export function sendIndex(reply: FastifyReply): FastifyReply {
  return reply.sendFile(INDEX)
}
