/**
 * What a replica server counts (names as upstream where there are any: replica-server.md 21).
 */
import type { MetricCounter, MetricHistogram, Metrics } from '../runtime/metrics.ts'

export interface ReplicaMetrics {
  readonly committedRequests: MetricCounter
  readonly writesRefused: MetricCounter
  readonly readsRefused: MetricCounter
  readonly backupRequests: MetricCounter
  readonly writeSizeExceeded: MetricCounter
  readonly learnRounds: MetricCounter
  readonly learnResets: MetricCounter
  readonly learnCopyBytes: MetricCounter
  readonly prepareFailed: MetricCounter
  readonly alarms: MetricCounter
  readonly contentMismatch: MetricCounter
  readonly beaconFailed: MetricCounter
  readonly writeLatencyMs: MetricHistogram
  readonly readLatencyMs: MetricHistogram
}

const LATENCY_MS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000]

export function replicaMetrics(metrics: Metrics): ReplicaMetrics {
  const counter = (name: string, help: string): MetricCounter => metrics.counter(name, help)
  return {
    committedRequests: counter('committed_requests', 'Client writes committed and applied'),
    writesRefused: counter('write_failed_requests', 'Client writes answered with an error'),
    readsRefused: counter('read_failed_requests', 'Client reads answered with an error'),
    backupRequests: counter('backup_requests', 'Reads that may be stale'),
    writeSizeExceeded: counter(
      'write_size_exceed_threshold_requests',
      'Writes refused for the size of their body',
    ),
    learnRounds: counter('learn_rounds', 'Learn requests sent'),
    learnResets: counter('learn_resets', 'Learners ahead of their group: data thrown away'),
    learnCopyBytes: counter('learn_copy_buffer_bytes', 'Snapshot bytes copied from learnees'),
    prepareFailed: counter('prepare_failed_requests', 'Prepares that a member did not acknowledge'),
    alarms: counter('replica_alarms', 'Conditions that somebody should look at'),
    contentMismatch: counter('content_hash_mismatch', 'Decrees with two contents in one group'),
    beaconFailed: counter('beacon_failed_count', 'Beacons without an answer'),
    writeLatencyMs: metrics.histogram('write_latency_ms', 'Client write to answer', LATENCY_MS),
    readLatencyMs: metrics.histogram('read_latency_ms', 'Client read to answer', LATENCY_MS),
  }
}
