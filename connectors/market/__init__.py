"""Market sources. Every source gives chunks of `Ticks` and knows no Kafka."""
