// Groups the messages of each partition that arrive within a few milliseconds into one array of bytes, so that an
// operator in Python is called once for all of them and one object crosses into its interpreter. Flink's own
// TUMBLE with ARRAY_AGG does the same with a state access, and a crossing, for each message.
//
// Layout, little endian, n messages: number of the topic, partition, n, bytes to come, each of 4 bytes; offsets, timestamps
// in seconds, lengths (-1 for null), each of 8 bytes; the bytes of the messages; filled up to a multiple of 8. Read by
// jobs/chain/packing.py.
//
// Nothing is held across a checkpoint: what waits leaves before the barrier, and behind it, for every key, the word that
// tells the operator in Python to write its state.
public class MicroBatches extends org.apache.flink.streaming.api.operators.AbstractStreamOperator
        implements org.apache.flink.streaming.api.operators.OneInputStreamOperator,
        org.apache.flink.streaming.api.operators.BoundedOneInput,
        org.apache.flink.api.common.operators.ProcessingTimeService.ProcessingTimeCallback {

    private static final int V = 0;
    private static final int TOPIC = 1;
    private static final int PARTITION = 2;
    private static final int OFFSET = 3;
    private static final int TIMESTAMP = 4;

    private final long millis;
    private final int most;
    private final org.apache.flink.table.data.StringData[] topics;
    private final int[] numbers;
    private final int[] keys;
    private final Integer batches;
    private final Integer checkpoint;
    private final java.util.ArrayList waiting = new java.util.ArrayList();
    private final org.apache.flink.streaming.runtime.streamrecord.StreamRecord out =
            new org.apache.flink.streaming.runtime.streamrecord.StreamRecord(null);
    private boolean timed = false;

    // references: milliseconds to wait for more (0: only for what is there), most messages of a micro-batch, topics in
    // Kafka, their numbers, keys by partition, the word of micro-batches, the word of a checkpoint
    public MicroBatches(Object[] references, org.apache.flink.streaming.runtime.tasks.StreamTask task,
            org.apache.flink.streaming.api.graph.StreamConfig config,
            org.apache.flink.streaming.api.operators.Output output,
            org.apache.flink.streaming.runtime.tasks.ProcessingTimeService time) throws Exception {
        this.millis = ((Number) references[0]).longValue();
        this.most = ((Number) references[1]).intValue();
        this.numbers = numbers((String) references[3]);
        String[] found = ((String) references[2]).split(" ");
        this.topics = new org.apache.flink.table.data.StringData[found.length];
        for (int i = 0; i < found.length; i++) {
            this.topics[i] = org.apache.flink.table.data.binary.BinaryStringData.fromString(found[i]);
        }
        this.keys = numbers((String) references[4]);
        this.batches = (Integer) references[5];
        this.checkpoint = (Integer) references[6];
        this.setup(task, config, output);
        this.setProcessingTimeService(time);
    }

    private static int[] numbers(String text) {
        String[] parts = text.split(" ");
        int[] found = new int[parts.length];
        for (int i = 0; i < parts.length; i++) {
            found[i] = Integer.parseInt(parts[i]);
        }
        return found;
    }

    public void processElement(org.apache.flink.streaming.runtime.streamrecord.StreamRecord element)
            throws Exception {
        org.apache.flink.table.data.RowData row = (org.apache.flink.table.data.RowData) element.getValue();
        Batch batch = batch(row.getString(TOPIC), row.getInt(PARTITION));
        batch.add(row.isNullAt(V) ? null : row.getBinary(V), row.getLong(OFFSET),
                Math.floorDiv(row.getTimestamp(TIMESTAMP, 3).getMillisecond(), 1000L));
        if (batch.count >= most) {
            send(batch);
        } else if (!timed) {
            long now = processingTimeService.getCurrentProcessingTime();
            // A moment that is over comes at once, one that is to come up to a millisecond late.
            processingTimeService.registerTimer(millis == 0L ? now - 1L : (now / millis + 1L) * millis, this);
            timed = true;
        }
    }

    private Batch batch(org.apache.flink.table.data.StringData topic, int partition) {
        for (int i = 0; i < waiting.size(); i++) {
            Batch batch = (Batch) waiting.get(i);
            if (batch.partition == partition && (topics.length == 1 || topics[batch.topic].equals(topic))) {
                return batch;
            }
        }
        int place = 0;
        while (!topics[place].equals(topic)) {
            place++;
        }
        Batch batch = new Batch(place, partition);
        waiting.add(batch);
        return batch;
    }

    public void onProcessingTime(long time) throws Exception {
        timed = false;
        sendAll();
    }

    public void prepareSnapshotPreBarrier(long id) throws Exception {
        settle();
    }

    public void endInput() throws Exception {
        settle();
    }

    private void settle() {
        sendAll();
        for (int i = 0; i < keys.length; i++) {
            collect(keys[i], checkpoint, new byte[0]);
        }
    }

    private void sendAll() {
        for (int i = 0; i < waiting.size(); i++) {
            send((Batch) waiting.get(i));
        }
    }

    private void send(Batch batch) {
        if (batch.count == 0) {
            return;
        }
        int key = keys[Math.min(batch.partition, keys.length - 1)];
        collect(key, batches, batch.packed(numbers[batch.topic]));
    }

    private void collect(int key, Integer word, byte[] payload) {
        org.apache.flink.types.Row value = org.apache.flink.types.Row.of(new Object[] {word, payload});
        output.collect(out.replace(org.apache.flink.types.Row.of(new Object[] {Integer.valueOf(key), value})));
    }

    private static final class Batch {
        final int topic;
        final int partition;
        int count = 0;
        private int size = 0;
        private long[] offsets = new long[64];
        private long[] stamps = new long[64];
        private long[] lengths = new long[64];
        private byte[] held = new byte[8192];

        Batch(int topic, int partition) {
            this.topic = topic;
            this.partition = partition;
        }

        void add(byte[] message, long offset, long stamp) {
            if (count == offsets.length) {
                offsets = java.util.Arrays.copyOf(offsets, 2 * count);
                stamps = java.util.Arrays.copyOf(stamps, 2 * count);
                lengths = java.util.Arrays.copyOf(lengths, 2 * count);
            }
            offsets[count] = offset;
            stamps[count] = stamp;
            lengths[count] = message == null ? -1L : message.length;
            count++;
            if (message != null) {
                if (size + message.length > held.length) {
                    held = java.util.Arrays.copyOf(held, Math.max(2 * held.length, size + message.length));
                }
                System.arraycopy(message, 0, held, size, message.length);
                size += message.length;
            }
        }

        byte[] packed(int number) {
            int body = 24 * count + size;
            java.nio.ByteBuffer to = java.nio.ByteBuffer.allocate(16 + (body + 7) / 8 * 8);
            to.order(java.nio.ByteOrder.LITTLE_ENDIAN);
            to.putInt(number).putInt(partition).putInt(count).putInt(body);
            to.asLongBuffer().put(offsets, 0, count).put(stamps, 0, count).put(lengths, 0, count);
            to.position(16 + 24 * count);
            to.put(held, 0, size);
            count = 0;
            size = 0;
            return to.array();
        }
    }
}
