// Takes apart what an operator in Python gave in one array of bytes, and hands each message to a Kafka sink as a row
// (key, value, topic), without the topic where the sink has one only. One object crosses out of the interpreter for all of a
// call.
//
// Layout, little endian, one section for each topic: number of the topic, n messages, bytes of keys, bytes of values,
// each of 4 bytes; n starts and n lengths of keys, n lengths of values, each of 4 bytes; the keys; the values. Written
// by jobs/chain/packing.py.
public class Messages extends org.apache.flink.streaming.api.operators.AbstractStreamOperator
        implements org.apache.flink.streaming.api.operators.OneInputStreamOperator {

    private static final int SINK = 0;
    private static final int PAYLOAD = 1;

    private final int sink;
    private final int width;
    private final org.apache.flink.table.data.StringData[] topics;
    private final org.apache.flink.streaming.runtime.streamrecord.StreamRecord out =
            new org.apache.flink.streaming.runtime.streamrecord.StreamRecord(null);

    // references: the sink, fields of a row, topics in Kafka by number
    public Messages(Object[] references, org.apache.flink.streaming.runtime.tasks.StreamTask task,
            org.apache.flink.streaming.api.graph.StreamConfig config,
            org.apache.flink.streaming.api.operators.Output output,
            org.apache.flink.streaming.runtime.tasks.ProcessingTimeService time) throws Exception {
        this.sink = ((Number) references[0]).intValue();
        this.width = ((Number) references[1]).intValue();
        String[] names = ((String) references[2]).split(" ");
        this.topics = new org.apache.flink.table.data.StringData[names.length];
        for (int i = 0; i < names.length; i++) {
            this.topics[i] = org.apache.flink.table.data.binary.BinaryStringData.fromString(names[i]);
        }
        this.setup(task, config, output);
        this.setProcessingTimeService(time);
    }

    public void processElement(org.apache.flink.streaming.runtime.streamrecord.StreamRecord element)
            throws Exception {
        org.apache.flink.types.Row row = (org.apache.flink.types.Row) element.getValue();
        if (((Integer) row.getField(SINK)).intValue() == sink) {
            java.nio.ByteBuffer from = java.nio.ByteBuffer.wrap((byte[]) row.getField(PAYLOAD));
            from.order(java.nio.ByteOrder.LITTLE_ENDIAN);
            while (from.hasRemaining()) {
                section(from);
            }
        }
    }

    private void section(java.nio.ByteBuffer from) {
        org.apache.flink.table.data.StringData topic = topics[from.getInt()];
        int count = from.getInt();
        int keyBytes = from.getInt();
        int valueBytes = from.getInt();
        int numbers = from.position();
        int keys = numbers + 12 * count;
        int value = keys + keyBytes;
        byte[] all = from.array();
        for (int i = 0; i < count; i++) {
            int key = keys + from.getInt(numbers + 4 * i);
            int keyLength = from.getInt(numbers + 4 * (count + i));
            int length = from.getInt(numbers + 4 * (2 * count + i));
            org.apache.flink.table.data.GenericRowData message = new org.apache.flink.table.data.GenericRowData(width);
            message.setField(0, java.util.Arrays.copyOfRange(all, key, key + keyLength));
            message.setField(1, java.util.Arrays.copyOfRange(all, value, value + length));
            if (width > 2) {
                message.setField(2, topic);
            }
            output.collect(out.replace(message));
            value += length;
        }
        from.position(keys + keyBytes + valueBytes);
    }
}
