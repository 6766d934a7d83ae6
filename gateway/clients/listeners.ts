/**
 * Where clients come in: the plain port, and beside it a port for TLS when the configuration has one
 * (gateway.md X-1). Who gets in is the admission's matter, what they say the server's.
 */
import type { Listener, Runtime } from '../../cluster/runtime/runtime.ts'
import type { Admission } from './admission.ts'
import { type CertificateFiles, Certificates } from './certificates.ts'

export interface ListenOptions {
  readonly host: string
  readonly port: number
  readonly tls: (CertificateFiles & { readonly host: string; readonly port: number }) | undefined
}

export class Listeners {
  readonly plain: Listener
  readonly tls: Listener | undefined
  readonly #certificates: Certificates | undefined

  private constructor(plain: Listener, tls?: Listener, certificates?: Certificates) {
    this.plain = plain
    this.tls = tls
    this.#certificates = certificates
  }

  /** Rejects with a RuntimeError such as EADDRINUSE, or one that names a certificate file. */
  static async open(
    runtime: Runtime,
    { host, port, tls }: ListenOptions,
    admission: Admission,
  ): Promise<Listeners> {
    const { network } = runtime
    const certificates = tls === undefined ? undefined : await Certificates.read(runtime, tls)
    const at = { host, port, lends: true }
    const plain = await network.listen(at, (socket) => admission.accept(socket))
    if (tls === undefined || certificates === undefined) return new Listeners(plain)
    const { material } = certificates
    const handshake = {
      material,
      admits: (peer: string) => admission.admits(peer),
      preamble: (peer: string) => admission.preamble(peer),
      onFailed: (peer: string, reason: string) => admission.failedHandshake(peer, reason),
    }
    try {
      const secure = await network.listen(
        { host: tls.host, port: tls.port, tls: handshake },
        (socket) => admission.acceptSecure(socket),
      )
      certificates.follow(secure)
      return new Listeners(plain, secure, certificates)
    } catch (error) {
      await plain.close()
      throw error
    }
  }

  /** Stops accepting. */
  async close(): Promise<void> {
    this.#certificates?.close()
    await Promise.all([this.plain.close(), this.tls?.close()])
  }
}
