// Passes what shards give for the account on to its operator, keyed by the account, and before the barrier of a checkpoint
// the word that tells the account to write its state.
public class Rows extends org.apache.flink.streaming.api.operators.AbstractStreamOperator
        implements org.apache.flink.streaming.api.operators.OneInputStreamOperator,
        org.apache.flink.streaming.api.operators.BoundedOneInput {

    private static final int SINK = 0;
    private static final int PAYLOAD = 1;

    private final int sink;
    private final Integer batches;
    private final Integer checkpoint;
    private final Integer key = Integer.valueOf(0);
    private final org.apache.flink.streaming.runtime.streamrecord.StreamRecord out =
            new org.apache.flink.streaming.runtime.streamrecord.StreamRecord(null);

    // references: the sink that means the next operator, the word of micro-batches, the word of a checkpoint
    public Rows(Object[] references, org.apache.flink.streaming.runtime.tasks.StreamTask task,
            org.apache.flink.streaming.api.graph.StreamConfig config,
            org.apache.flink.streaming.api.operators.Output output,
            org.apache.flink.streaming.runtime.tasks.ProcessingTimeService time) throws Exception {
        this.sink = ((Number) references[0]).intValue();
        this.batches = (Integer) references[1];
        this.checkpoint = (Integer) references[2];
        this.setup(task, config, output);
        this.setProcessingTimeService(time);
    }

    public void processElement(org.apache.flink.streaming.runtime.streamrecord.StreamRecord element)
            throws Exception {
        org.apache.flink.types.Row row = (org.apache.flink.types.Row) element.getValue();
        if (((Integer) row.getField(SINK)).intValue() == sink) {
            collect(batches, (byte[]) row.getField(PAYLOAD));
        }
    }

    public void prepareSnapshotPreBarrier(long id) throws Exception {
        collect(checkpoint, new byte[0]);
    }

    public void endInput() throws Exception {
        collect(checkpoint, new byte[0]);
    }

    private void collect(Integer word, byte[] payload) {
        org.apache.flink.types.Row value = org.apache.flink.types.Row.of(new Object[] {word, payload});
        output.collect(out.replace(org.apache.flink.types.Row.of(new Object[] {key, value})));
    }
}
