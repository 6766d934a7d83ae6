/** The contract of files (`cluster/runtime/runtime.ts`) on both runtimes. */
import t from 'tap'
import { subjects } from './runtime-subjects.ts'

for (const kind of subjects)
  void t.test(kind.name, async (t) => {
    await t.test('create, update and read follow the modes', async (t) => {
      await kind.run(async ({ runtime: { files }, directory }) => {
        const path = `${directory}/log`
        await t.rejects(files.open(path, 'read'), { code: 'ENOENT' })
        await t.rejects(files.open(path, 'update'), { code: 'ENOENT' })
        const created = await files.open(path, 'create')
        await t.rejects(files.open(path, 'create'), { code: 'EEXIST' })
        await created.write(0, [Buffer.from('hello '), Buffer.alloc(0), Buffer.from('world')])
        await created.sync()
        t.equal(await created.sizeBytes(), 11)
        await created.close()
        const updated = await files.open(path, 'update')
        await updated.write(6, [Buffer.from('there')])
        t.equal((await updated.read(0, 5)).toString(), 'hello')
        t.equal((await updated.read(6, 100)).toString(), 'there', 'short at the end')
        t.equal((await updated.read(100, 10)).length, 0)
        await updated.truncate(5)
        t.equal(await updated.sizeBytes(), 5)
        await updated.write(8, [Buffer.from('x')])
        await updated.close()
        t.same(await files.readFile(path), Buffer.from('hello\0\0\0x'))
      })
    })

    await t.test('many chunks are written in order', async (t) => {
      await kind.run(async ({ runtime: { files }, directory }) => {
        const file = await files.open(`${directory}/chunks`, 'create')
        const chunks = Array.from({ length: 3000 }, (_, i) => Buffer.from(`${i},`))
        await file.write(0, chunks)
        await file.close()
        t.ok((await files.readFile(`${directory}/chunks`)).equals(Buffer.concat(chunks)))
      })
    })

    await t.test('folders: make with parents, list sorted, stat, rename, remove', async (t) => {
      await kind.run(async ({ runtime: { files }, directory }) => {
        await files.makeDirectory(`${directory}/a/b`)
        await files.makeDirectory(`${directory}/a/b`)
        for (const name of ['2', '10', '1'])
          await (await files.open(`${directory}/a/${name}`, 'create')).close()
        t.same(await files.list(`${directory}/a`), ['1', '10', '2', 'b'])
        t.match(await files.stat(`${directory}/a`), { kind: 'directory' })
        t.same(await files.stat(`${directory}/a/1`), { kind: 'file', sizeBytes: 0 })
        t.equal(await files.stat(`${directory}/none`), undefined)
        await files.rename(`${directory}/a/1`, `${directory}/a/2`)
        await files.syncDirectory(`${directory}/a`)
        t.same(await files.list(`${directory}/a`), ['10', '2', 'b'])
        await t.rejects(files.rename(`${directory}/no`, `${directory}/x`), { code: 'ENOENT' })
        await files.rename(`${directory}/a`, `${directory}/c`)
        t.same(await files.list(`${directory}/c`), ['10', '2', 'b'])
        await files.remove(`${directory}/c`)
        await files.remove(`${directory}/c`)
        t.same(await files.list(directory), [])
        await t.rejects(files.list(`${directory}/c`), { code: 'ENOENT' })
        await t.rejects(files.open(`${directory}/c/x`, 'create'), { code: 'ENOENT' })
      })
    })

    await t.test('replaceFile leaves the new content alone, also when calls overlap', async (t) => {
      await kind.run(async ({ runtime: { files }, directory }) => {
        const path = `${directory}/ballot`
        const versions = Array.from({ length: 5 }, (_, i) => Buffer.from(`version ${i}`))
        await Promise.all(versions.map((content) => files.replaceFile(path, content)))
        t.equal((await files.readFile(path)).toString(), 'version 4')
        t.same(await files.list(directory), ['ballot'])
      })
    })
  })
