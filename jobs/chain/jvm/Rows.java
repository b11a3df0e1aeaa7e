// Passes the rows that an operator in Python made for the account's on to it, keyed by the account.
public class Rows extends org.apache.flink.streaming.api.operators.AbstractStreamOperator
        implements org.apache.flink.streaming.api.operators.OneInputStreamOperator {

    private final int sink;
    private final String source;
    private final Integer key = Integer.valueOf(0);
    private final org.apache.flink.streaming.runtime.streamrecord.StreamRecord out =
            new org.apache.flink.streaming.runtime.streamrecord.StreamRecord(null);

    // references: the sink that means the next operator, the source that the next operator is told
    public Rows(Object[] references, org.apache.flink.streaming.runtime.tasks.StreamTask task,
            org.apache.flink.streaming.api.graph.StreamConfig config,
            org.apache.flink.streaming.api.operators.Output output,
            org.apache.flink.streaming.runtime.tasks.ProcessingTimeService time) throws Exception {
        this.sink = ((Number) references[0]).intValue();
        this.source = (String) references[1];
        this.setup(task, config, output);
        this.setProcessingTimeService(time);
    }

    public void processElement(org.apache.flink.streaming.runtime.streamrecord.StreamRecord element)
            throws Exception {
        org.apache.flink.types.Row row = (org.apache.flink.types.Row) element.getValue();
        if (((Integer) row.getField(0)).intValue() == sink) {
            org.apache.flink.types.Row value = org.apache.flink.types.Row.of(
                    new Object[] {source, row.getField(1), row.getField(2)});
            output.collect(out.replace(org.apache.flink.types.Row.of(new Object[] {key, value})));
        }
    }
}
