// Puts the micro-batches that are there together into one, so that the operator in Python behind it is called once for all
// of them, whatever keys they have: what came while it was busy waits here, and nothing waits when it is not.
//
// Micro-batches lie one behind the other, as they came. Before the first of a key comes a word that it begins, since only
// then does the operator in Python read its state. Nothing is held across a checkpoint.
public class Gather extends org.apache.flink.streaming.api.operators.AbstractStreamOperator
        implements org.apache.flink.streaming.api.operators.OneInputStreamOperator,
        org.apache.flink.streaming.api.operators.BoundedOneInput, org.apache.flink.util.function.ThrowingRunnable {

    private static final int KEY = 0;
    private static final int VALUE = 1;
    private static final int WORD = 0;
    private static final int PAYLOAD = 1;

    private final Integer batches;
    private final Integer open;
    private final int most;
    private final org.apache.flink.api.common.operators.MailboxExecutor mailbox;
    private final java.util.HashSet known = new java.util.HashSet();
    private final java.util.ArrayList waiting = new java.util.ArrayList();
    private final org.apache.flink.streaming.runtime.streamrecord.StreamRecord out =
            new org.apache.flink.streaming.runtime.streamrecord.StreamRecord(null);
    private Object key = null;
    private int size = 0;
    private int counted = 0;
    private boolean posted = false;

    // references: the word of micro-batches, the word that a key begins, most bytes together
    public Gather(Object[] references, org.apache.flink.streaming.runtime.tasks.StreamTask task,
            org.apache.flink.streaming.api.graph.StreamConfig config,
            org.apache.flink.streaming.api.operators.Output output,
            org.apache.flink.streaming.runtime.tasks.ProcessingTimeService time) throws Exception {
        this.batches = (Integer) references[0];
        this.open = (Integer) references[1];
        this.most = ((Number) references[2]).intValue();
        this.mailbox = task.getMailboxExecutorFactory().createExecutor(config.getChainIndex());
        this.setup(task, config, output);
        this.setProcessingTimeService(time);
    }

    public void processElement(org.apache.flink.streaming.runtime.streamrecord.StreamRecord element)
            throws Exception {
        org.apache.flink.types.Row row = (org.apache.flink.types.Row) element.getValue();
        org.apache.flink.types.Row value = (org.apache.flink.types.Row) row.getField(VALUE);
        if (!batches.equals(value.getField(WORD))) {
            send();
            output.collect(out.replace(row));
            return;
        }
        byte[] payload = (byte[]) value.getField(PAYLOAD);
        if (size + payload.length > most) {
            send();
        }
        key = row.getField(KEY);
        if (known.add(key)) {
            collect(open, new byte[0]);
        }
        waiting.add(payload);
        size += payload.length;
        if (!posted) {
            posted = true;
            mailbox.execute(this, "gather");
        }
    }

    // A letter to this thread itself: between two of them it takes one element that has arrived, so that all have been
    // taken when a letter finds nothing new.
    public void run() throws Exception {
        if (waiting.size() == counted) {
            posted = false;
            send();
        } else {
            counted = waiting.size();
            mailbox.execute(this, "gather");
        }
    }

    public void prepareSnapshotPreBarrier(long id) throws Exception {
        send();
    }

    public void endInput() throws Exception {
        send();
    }

    private void send() {
        if (waiting.isEmpty()) {
            return;
        }
        byte[] all = (byte[]) waiting.get(0);
        if (waiting.size() > 1) {
            java.nio.ByteBuffer to = java.nio.ByteBuffer.allocate(size);
            for (int i = 0; i < waiting.size(); i++) {
                to.put((byte[]) waiting.get(i));
            }
            all = to.array();
        }
        waiting.clear();
        size = 0;
        counted = 0;
        collect(batches, all);
    }

    private void collect(Integer word, byte[] payload) {
        org.apache.flink.types.Row value = org.apache.flink.types.Row.of(new Object[] {word, payload});
        output.collect(out.replace(org.apache.flink.types.Row.of(new Object[] {key, value})));
    }
}
