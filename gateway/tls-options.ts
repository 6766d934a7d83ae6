/** The options of the section `tls` taken together: what is wrong between them, and what they ask for. */
import type { CertificateFiles } from './clients/certificates.ts'
import type { GatewayConfig } from './config.ts'

type TlsSection = GatewayConfig['tls']

/** What is wrong between the options of `tls`. */
export function tlsProblems({ port, certFile, keyFile, clientCaFile }: TlsSection): string[] {
  if (port === undefined) {
    const isUseless = [certFile, keyFile, clientCaFile].some((file) => file !== undefined)
    return isUseless ? ['tls.port: expected a port, because other options of tls are given'] : []
  }
  const problems: string[] = []
  if (certFile === undefined)
    problems.push('tls.certFile: expected a file, because tls.port is given')
  if (keyFile === undefined)
    problems.push('tls.keyFile: expected a file, because tls.port is given')
  return problems
}

/** The TLS listener, when there is one. */
export function tlsOf({
  tls,
}: GatewayConfig):
  (CertificateFiles & { readonly host: string; readonly port: number }) | undefined {
  const { port, certFile, keyFile } = tls
  if (port === undefined || certFile === undefined || keyFile === undefined) return undefined
  return { ...tls, port, certFile, keyFile }
}
