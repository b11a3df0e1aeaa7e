"""The edges: Kafka, schema registry, market sources. Nothing here imports Flink."""
