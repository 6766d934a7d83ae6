"""Runs the official Python client through its operations, prints what it returned as JSON.

Arguments: address of a meta server or gateway, name of an empty table.
The client takes text for keys and values; bytes would be stored as their Python notation.
"""
import json
import sys

from pypegasus.pgclient import Pegasus
from pypegasus.rrdb.ttypes import filter_type
from pypegasus.utils.tools import MultiGetOptions, ScanOptions
from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks

GIVE_UP_SECONDS = 60
results = {}


def shown(value):
    if isinstance(value, bytes):
        return value.decode('utf-8', 'backslashreplace')
    if isinstance(value, dict):
        return {shown(key): shown(entry) for key, entry in sorted(value.items())}
    if isinstance(value, (list, tuple, set)):
        return [shown(entry) for entry in value]
    return value


def note(name, value):
    results[name] = shown(value)


@inlineCallbacks
def everything_of(scanner):
    found = []
    while True:
        entry = yield scanner.get_next()
        if entry is None:
            break
        found.append(entry)
    scanner.close()
    return found


@inlineCallbacks
def run(address, table):
    client = Pegasus([address], table, 10000)
    note('init', (yield client.init()))

    note('set', (yield client.set('python', 'a', 'one')))
    note('get', (yield client.get('python', 'a')))
    note('get absent', (yield client.get('python', 'none')))
    note('exist', (yield client.exist('python', 'a')))
    note('exist absent', (yield client.exist('python', 'none')))
    note('ttl of none', (yield client.ttl('python', 'a')))
    yield client.set('python', 'passing', 'soon', 1000)
    code, left = yield client.ttl('python', 'passing')
    note('ttl', [code, 990 < left <= 1000])

    many = {'s%d' % index: 'v%d' % index for index in range(10)}
    note('multi_set', (yield client.multi_set('many', many)))
    note('sort_key_count', (yield client.sort_key_count('many')))
    note('multi_get', (yield client.multi_get('many', {'s1', 's2', 'none'})))
    note('multi_get of all', (yield client.multi_get('many', None)))
    note('get_sort_keys', (yield client.get_sort_keys('many')))
    backwards = MultiGetOptions()
    backwards.reverse = True
    note('multi_get_opt reverse', (yield client.multi_get_opt('many', 's2', 's8', backwards, 3)))
    filtered = MultiGetOptions()
    filtered.sortkey_filter_type = filter_type.FT_MATCH_POSTFIX
    filtered.sortkey_filter_pattern = '7'
    note('multi_get_opt filter', (yield client.multi_get_opt('many', '', '', filtered)))

    # Several batches, so that contexts are handed on.
    options = ScanOptions()
    options.batch_size = 3
    note('scan of a hash key', (yield everything_of(client.get_scanner('many', 's2', 's8', options))))
    found = []
    for scanner in client.get_unordered_scanners(3, options):
        found += yield everything_of(scanner)
    note('scan of the table', sorted(found))

    note('multi_del', (yield client.multi_del('many', {'s1', 's2'})))
    note('sort_key_count after', (yield client.sort_key_count('many')))
    note('remove', (yield client.remove('python', 'a')))
    note('get removed', (yield client.get('python', 'a')))
    client.close()


def end(failure=None):
    if failure is not None:
        results['failure'] = failure.getTraceback()
    reactor.stop()


def give_up():
    results['failure'] = 'gave up after %d s' % GIVE_UP_SECONDS
    reactor.stop()


reactor.callWhenRunning(lambda: run(sys.argv[1], sys.argv[2]).addCallbacks(lambda _: end(), end))
reactor.callLater(GIVE_UP_SECONDS, give_up)
reactor.run()
print(json.dumps(results))
