/**
 * The certificate of the TLS listener (gateway.md X-1): read from files, and again now and then, so
 * that one that was renewed is shown without a restart. Files that are broken or half replaced leave
 * the last good one in place.
 */
import {
  type Listener,
  type Runtime,
  RuntimeError,
  type Timer,
  type TlsMaterial,
} from '../../cluster/runtime/runtime.ts'

export interface CertificateFiles {
  readonly certFile: string
  readonly keyFile: string
  /** Clients must show a certificate of an authority in this file. */
  readonly clientCaFile: string | undefined
  /** How often the files are read. */
  readonly reloadMs: number
}

export class Certificates {
  readonly #runtime: Runtime
  readonly #files: CertificateFiles
  #material: TlsMaterial
  #timer: Timer | undefined
  #closed = false

  private constructor(runtime: Runtime, files: CertificateFiles, material: TlsMaterial) {
    this.#runtime = runtime
    this.#files = files
    this.#material = material
  }

  /** Rejects with a RuntimeError that names the file that cannot be read. */
  static async read(runtime: Runtime, files: CertificateFiles): Promise<Certificates> {
    return new Certificates(runtime, files, await readMaterial(runtime, files))
  }

  get material(): TlsMaterial {
    return this.#material
  }

  /** From now on the listener gets what is new in the files. */
  follow(listener: Pick<Listener, 'setTls'>): void {
    if (this.#closed) return
    this.#timer = this.#runtime.timers.after(this.#files.reloadMs, () => {
      void this.renew(listener).then(() => this.follow(listener))
    })
  }

  close(): void {
    this.#closed = true
    this.#timer?.cancel()
  }

  /** Now, besides the reading now and then. */
  async renew(listener: Pick<Listener, 'setTls'>): Promise<void> {
    const { log } = this.#runtime
    const { certFile } = this.#files
    try {
      const material = await readMaterial(this.#runtime, this.#files)
      if (this.#closed || isSame(material, this.#material)) return
      listener.setTls?.(material)
      this.#material = material
      log.info('TLS certificate renewed', { certFile })
    } catch (error) {
      if (!(error instanceof RuntimeError)) throw error
      log.error('TLS certificate not renewed, the last one stays', { certFile, error })
    }
  }
}

async function readMaterial(
  { files }: Runtime,
  { certFile, keyFile, clientCaFile }: CertificateFiles,
): Promise<TlsMaterial> {
  return {
    certificate: await files.readFile(certFile),
    key: await files.readFile(keyFile),
    clientAuthorities: clientCaFile === undefined ? undefined : await files.readFile(clientCaFile),
  }
}

function isSame(one: TlsMaterial, other: TlsMaterial): boolean {
  const authorities = one.clientAuthorities ?? Buffer.alloc(0)
  return (
    one.certificate.equals(other.certificate) &&
    one.key.equals(other.key) &&
    authorities.equals(other.clientAuthorities ?? Buffer.alloc(0))
  )
}
