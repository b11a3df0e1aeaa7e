// Passes what shards give for the account on to its operator, keyed by the account: what comes within a millisecond
// together, because a call of that operator costs more than the rows of one shard in a quiet market.
//
// Layout, little endian: shard and length, of 4 bytes each, and so many bytes, again and again. Read by
// jobs/chain/packing.py. Nothing is held across a checkpoint: what waits leaves before the barrier, and behind it an empty
// micro-batch that tells the account to write its state.
public class Rows extends org.apache.flink.streaming.api.operators.AbstractStreamOperator
        implements org.apache.flink.streaming.api.operators.OneInputStreamOperator,
        org.apache.flink.streaming.api.operators.BoundedOneInput,
        org.apache.flink.api.common.operators.ProcessingTimeService.ProcessingTimeCallback {

    private static final int SINK = 0;
    private static final int SHARD = 1;
    private static final int PAYLOAD = 2;
    private static final int MOST = 65536;

    private final int sink;
    private final String source;
    private final String checkpoint;
    private final long millis;
    private final Integer key = Integer.valueOf(0);
    private final java.util.ArrayList waiting = new java.util.ArrayList();
    private final org.apache.flink.streaming.runtime.streamrecord.StreamRecord out =
            new org.apache.flink.streaming.runtime.streamrecord.StreamRecord(null);
    private int size = 0;
    private boolean timed = false;

    // references: the sink that means the next operator, the source that it is told, milliseconds, the source that
    // tells of a checkpoint
    public Rows(Object[] references, org.apache.flink.streaming.runtime.tasks.StreamTask task,
            org.apache.flink.streaming.api.graph.StreamConfig config,
            org.apache.flink.streaming.api.operators.Output output,
            org.apache.flink.streaming.runtime.tasks.ProcessingTimeService time) throws Exception {
        this.sink = ((Number) references[0]).intValue();
        this.source = (String) references[1];
        this.millis = ((Number) references[2]).longValue();
        this.checkpoint = (String) references[3];
        this.setup(task, config, output);
        this.setProcessingTimeService(time);
    }

    public void processElement(org.apache.flink.streaming.runtime.streamrecord.StreamRecord element)
            throws Exception {
        org.apache.flink.types.Row row = (org.apache.flink.types.Row) element.getValue();
        if (((Integer) row.getField(SINK)).intValue() != sink) {
            return;
        }
        waiting.add(row.getField(SHARD));
        waiting.add(row.getField(PAYLOAD));
        size += 8 + ((byte[]) row.getField(PAYLOAD)).length;
        if (size >= MOST) {
            send();
        } else if (!timed) {
            processingTimeService.registerTimer(processingTimeService.getCurrentProcessingTime() + millis, this);
            timed = true;
        }
    }

    public void onProcessingTime(long time) throws Exception {
        timed = false;
        send();
    }

    public void prepareSnapshotPreBarrier(long id) throws Exception {
        settle();
    }

    public void endInput() throws Exception {
        settle();
    }

    private void settle() {
        send();
        collect(checkpoint, new byte[0]);
    }

    private void send() {
        if (waiting.isEmpty()) {
            return;
        }
        java.nio.ByteBuffer to = java.nio.ByteBuffer.allocate(size);
        to.order(java.nio.ByteOrder.LITTLE_ENDIAN);
        for (int i = 0; i < waiting.size(); i += 2) {
            byte[] payload = (byte[]) waiting.get(i + 1);
            to.putInt(((Integer) waiting.get(i)).intValue());
            to.putInt(payload.length);
            to.put(payload);
        }
        waiting.clear();
        size = 0;
        collect(source, to.array());
    }

    private void collect(String from, byte[] payload) {
        org.apache.flink.types.Row value = org.apache.flink.types.Row.of(
                new Object[] {from, Integer.valueOf(0), payload});
        output.collect(out.replace(org.apache.flink.types.Row.of(new Object[] {key, value})));
    }
}
