/**
 * TLS on the admin port: the server that fastify serves with, and its certificate, which is read again
 * now and then and when somebody asks for it (`clients/certificates.ts`).
 */
import type { RequestListener, Server } from 'node:http'
import { type Server as TlsServer, createServer } from 'node:https'
import { usable } from '../../cluster/runtime/node-tls.ts'
import type { Runtime, TlsMaterial } from '../../cluster/runtime/runtime.ts'
import { Certificates } from '../clients/certificates.ts'
import type { GatewayConfig } from '../config.ts'

/** A client that has not finished its handshake by then is closed. */
const HANDSHAKE_MS = 5000

/** What is wrong between the options of `http`. */
export function adminTlsProblems({ certFile, keyFile }: GatewayConfig['http']): string[] {
  if ((certFile === undefined) === (keyFile === undefined)) return []
  return ['http.certFile and http.keyFile: give both or neither']
}

export class AdminTls {
  readonly #certificates: Certificates
  #server: TlsServer | undefined

  private constructor(certificates: Certificates) {
    this.#certificates = certificates
  }

  /** Undefined without files. Rejects with a RuntimeError that names the file that cannot be read. */
  static async read(
    runtime: Runtime,
    { http, tls }: Pick<GatewayConfig, 'http' | 'tls'>,
  ): Promise<AdminTls | undefined> {
    const { certFile, keyFile } = http
    if (certFile === undefined || keyFile === undefined) return undefined
    const { reloadMs } = tls
    const files = { certFile, keyFile, clientCaFile: undefined, reloadMs }
    return new AdminTls(await Certificates.read(runtime, files))
  }

  /** Throws a RuntimeError when the certificate is unusable. */
  serve(handler: RequestListener, requestTimeout: number): Server {
    const { material } = this.#certificates
    const server = usable(() =>
      createServer(
        { ...contextOf(material), handshakeTimeout: HANDSHAKE_MS, requestTimeout },
        handler,
      ),
    )
    // Nobody is there to be answered; Node would take it for a bad request.
    server.removeAllListeners('tlsClientError')
    server.on('tlsClientError', (_error, socket) => socket.destroy())
    this.#server = server
    this.#certificates.follow(this)
    return server
  }

  setTls(material: TlsMaterial): void {
    usable(() => this.#server?.setSecureContext(contextOf(material)))
  }

  /** Reads the files now; broken ones leave the last good certificate in place. */
  renew(): Promise<void> {
    return this.#certificates.renew(this)
  }

  close(): void {
    this.#certificates.close()
  }
}

function contextOf({ certificate, key }: TlsMaterial): { cert: Buffer; key: Buffer } {
  return { cert: certificate, key }
}
