/**
 * What garbage costs a server in memory: many connections with garbage one after the other, then
 * many that begin a large frame and keep it open. Linux only: resident memory is read in /proc.
 */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type Socket, connect } from 'node:net'
import { seededRandom } from '../../cluster/runtime/simulated-random.ts'

const waves = 20
const perWave = 100
const heldOpen = 200
const garbageBytes = 4096

function residentMiB(pid: number): number {
  const [, kib = ''] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kib) / 1024
}

/** `begun`: the beginning of a frame whose length the server accepts; garbage follows it. */
export async function garbageGrowthMiB(target: {
  readonly address: string
  readonly pid: number
  readonly begun: Buffer
}): Promise<number> {
  const { address, pid, begun } = target
  const [host = '', port = ''] = address.split(':')
  const random = seededRandom(`garbage for ${port}`)
  const garbage = Buffer.from(Array.from({ length: garbageBytes }, () => random.below(256)))
  const open = (count: number): Socket[] =>
    Array.from({ length: count }, () => {
      const socket = connect(Number(port), host)
      socket.on('error', () => undefined)
      return socket.resume()
    })
  const before = residentMiB(pid)
  for (let wave = 0; wave < waves; wave++) {
    const closed = open(perWave).map(async (socket) => {
      socket.end(garbage)
      await once(socket, 'close')
    })
    await Promise.all(closed)
  }
  const held = open(heldOpen)
  const sent = held.map(
    async (socket) =>
      new Promise<void>((resolve) => {
        socket.write(Buffer.concat([begun, garbage]), () => resolve())
      }),
  )
  await Promise.all(sent)
  const grown = residentMiB(pid) - before
  for (const socket of held) socket.destroy()
  return grown
}
