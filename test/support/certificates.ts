/**
 * Certificates made when a test runs, by the `openssl` program: an authority, and what it signs.
 * `opensslMissing` is the reason to skip for a machine without it.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

export const opensslMissing: string | false =
  spawnSync('openssl', ['version']).status === 0 ? false : 'missing openssl'

export interface Certificate {
  readonly certFile: string
  readonly keyFile: string
}

function openssl(...words: readonly string[]): void {
  execFileSync('openssl', words, { stdio: ['ignore', 'ignore', 'pipe'] })
}

const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']

/** An authority of its own in `folder`, whose certificates no machine trusts. */
export function makeAuthority(
  folder: string,
  name = 'authority',
): { readonly certFile: string; readonly sign: (subject: string) => Certificate } {
  const certFile = join(folder, `${name}.pem`)
  const keyFile = join(folder, `${name}.key`)
  const self = ['req', '-x509', '-days', '2', '-subj', `/CN=${name}`]
  openssl(...self, ...curve, '-keyout', keyFile, '-out', certFile)
  return {
    certFile,
    sign: (subject) => {
      const signed = {
        certFile: join(folder, `${subject}.pem`),
        keyFile: join(folder, `${subject}.key`),
      }
      const request = join(folder, `${subject}.csr`)
      const extensions = join(folder, `${subject}.ext`)
      writeFileSync(extensions, 'subjectAltName=DNS:localhost,IP:127.0.0.1\n')
      const asks = ['req', '-new', '-subj', `/CN=${subject}`, ...curve]
      openssl(...asks, '-keyout', signed.keyFile, '-out', request)
      const by = ['-CA', certFile, '-CAkey', keyFile, '-CAcreateserial', '-days', '2']
      openssl(
        'x509',
        '-req',
        '-in',
        request,
        ...by,
        '-extfile',
        extensions,
        '-out',
        signed.certFile,
      )
      return signed
    },
  }
}
