/** Which gateways the page marks as being of another version or configuration (admin-ui.md 3.10). */
import t from 'tap'
import { type Compared, mostOf, skewOf } from '../../admin-ui/src/gateways/skew.ts'

void t.test('what most have is the norm, and there is none when as many have another', (t) => {
  t.equal(mostOf([]), undefined)
  t.equal(mostOf(['a']), 'a')
  t.equal(mostOf(['b', 'a', 'b']), 'b')
  t.equal(mostOf(['a', 'b']), undefined)
  t.equal(mostOf(['a', 'b', 'c', 'c', 'b']), undefined)
  t.end()
})

void t.test('gateways that differ from most of their kind are marked', (t) => {
  const fleet: Compared[] = [
    { id: 'a', version: '2', configHash: 'x' },
    { id: 'b', version: '2', configHash: 'x' },
    { id: 'c', version: '2', configHash: 'y' },
    { id: 'd', version: '1', configHash: 'z' },
    { id: 'e', version: '2' },
  ]
  const marks = (gateways: readonly Compared[]) =>
    gateways.map((one) => {
      const { version, config, compareWith = '' } = skewOf(gateways, one)
      return `${one.id}${version ? ' version' : ''}${config ? ' config ' : ''}${compareWith}`
    })
  t.same(marks(fleet), ['a', 'b', 'c config a', 'd version', 'e'])
  t.same(marks(fleet.slice(1, 3)), ['b config c', 'c config b'], 'nobody knows which is right')
  t.same(marks(fleet.slice(4)), ['e'], 'an old version says nothing')
  t.end()
})
