/**
 * OpenAPI 3.1 from the schemas of the routes, and the paths with a verb behind a colon: the router takes
 * `/tables/a/:probe` where clients and the document say `/tables/a:probe`.
 */
import type { FastifyDynamicSwaggerOptions } from '@fastify/swagger'

const verbs = [
  'adopt',
  'apply',
  'approve',
  'batch',
  'drain',
  'export',
  'import',
  'preview',
  'probe',
  'rates',
  'reject',
  'replace-meta',
  'resume',
  'revert',
  'verify',
  'withdraw',
].join('|')
const withVerb = new RegExp(`^(/api/v1/[a-z]+(?:/[^/?:]+)?):(${verbs})(?=\\?|$)`)

/** A colon in a name is percent-encoded by clients, so the last one is a verb's. */
export function plainPath(url: string): string {
  return url.replace(withVerb, '$1/:$2')
}

export const openApi: FastifyDynamicSwaggerOptions = {
  openapi: {
    openapi: '3.1.0',
    info: {
      title: 'MetaProxy admin API',
      version: '1',
      description:
        'Mappings of tables to clusters, and the fleet that serves them. Errors are problem details with stable codes.',
    },
    components: {
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer' },
        session: { type: 'apiKey', in: 'cookie', name: 'metaproxy_session' },
      },
    },
  },
}

/** The document with the paths that clients call. */
export function withClientPaths(document: { readonly paths?: object | undefined }): object {
  const paths = Object.entries(document.paths ?? {})
  return {
    ...document,
    paths: Object.fromEntries(paths.map(([path, item]) => [clientPath(path), item as object])),
  }
}

/** The plug-in takes a verb for a parameter: `/tables/{name}/{probe}`, `/clusters/{name}/{replace}-meta`. */
function clientPath(path: string): string {
  return path.replace(/\/:?\{?([a-z]+)\}?(-[a-z]+)?$/, (whole, first: string, rest = '') => {
    const verb = `${first}${String(rest)}`
    return new RegExp(`^(${verbs})$`).test(verb) ? `:${verb}` : whole
  })
}
