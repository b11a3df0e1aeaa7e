// Passes on what a source reads, and minds how it reads.
//
// Its partitions are read in about the order of their messages' times. Kafka gives partitions by equal bytes. Where one holds
// more of a time than the others, as in a backlog, those run ahead of it, and all that they bring waits for it in the account's
// state. So a partition is paused while too many of its messages are later than the last of the slowest one. Silent partitions
// hold nobody.
//
// Flink's own alignment of splits is not used: in 2.3 a split that goes idle while it is paused may stay so
// (https://issues.apache.org/jira/browse/FLINK-40093), and an empty one holds all others until it is idle. The way to pause
// is the same: the source's reader, in the source's thread.
//
// What a completed checkpoint covers is committed to Kafka at once. The connector has its fetcher do that, which at the end of
// a log hears of it only when its poll is over, after up to 10 s (https://github.com/apache/flink-connector-kafka/pull/292):
// so it is woken.
public class Reading extends org.apache.flink.streaming.api.operators.AbstractStreamOperator
        implements org.apache.flink.streaming.api.operators.OneInputStreamOperator,
        org.apache.flink.api.common.operators.ProcessingTimeService.ProcessingTimeCallback {

    private static final int V = 0;
    private static final int TOPIC = 1;
    private static final int PARTITION = 2;
    private static final int TIMESTAMP = 4;

    private static final long MILLIS = 100L;  // from one look at the partitions to the next
    private static final int SILENT = 6;      // looks without a message, after which a partition holds nobody
    private static final int NOTHING = 3;     // looks that one counts for at which no partition had any: the others wait
    private static final int MARK = 256;      // messages from one whose time is remembered to the next

    private final long most;
    private final long mostAheadSeconds;
    private final java.util.HashMap before = new java.util.HashMap();
    private final java.util.ArrayList partitions = new java.util.ArrayList();
    private org.apache.flink.api.connector.source.SourceReader reader;
    private boolean timed = false;
    private long read = 0L;
    private long seen = 0L;

    // references: most messages of a partition that are later than the slowest one's last; by schema id what of a message
    // stands before its time, strings (s) and whole numbers (l), empty where partitions are read as they come; most seconds
    // that a time may be after Kafka's timestamp
    public Reading(Object[] references, org.apache.flink.streaming.runtime.tasks.StreamTask task,
            org.apache.flink.streaming.api.graph.StreamConfig config,
            org.apache.flink.streaming.api.operators.Output output,
            org.apache.flink.streaming.runtime.tasks.ProcessingTimeService time) throws Exception {
        this.most = ((Number) references[0]).longValue();
        String[] known = ((String) references[1]).split(" ");
        for (int i = 0; i < known.length && !known[i].isEmpty(); i++) {
            int cut = known[i].indexOf('=');
            this.before.put(Integer.valueOf(known[i].substring(0, cut)), known[i].substring(cut + 1));
        }
        this.mostAheadSeconds = ((Number) references[2]).longValue();
        this.setup(task, config, output);
        this.setProcessingTimeService(time);
    }

    public void processElement(org.apache.flink.streaming.runtime.streamrecord.StreamRecord element)
            throws Exception {
        org.apache.flink.table.data.RowData row = (org.apache.flink.table.data.RowData) element.getValue();
        Partition partition = partition(row.getString(TOPIC), row.getInt(PARTITION));
        if (!before.isEmpty()) {
            note(partition, row);
        }
        output.collect(element);
    }

    private void note(Partition partition, org.apache.flink.table.data.RowData row) throws Exception {
        partition.last = row.isNullAt(V) ? null : row.getBinary(V);
        partition.millis = row.getTimestamp(TIMESTAMP, 3).getMillisecond();
        partition.read++;
        read++;
        if (partition.read - partition.marked >= MARK) {
            mark(partition);
            align();  // the first seconds of a backlog are read faster than looks follow each other
        }
        if (!timed) {
            look();
        }
    }

    private Partition partition(org.apache.flink.table.data.StringData topic, int number) {
        for (int i = 0; i < partitions.size(); i++) {
            Partition partition = (Partition) partitions.get(i);
            if (partition.number == number && partition.topic.equals(topic)) {
                return partition;
            }
        }
        Partition partition = new Partition(
                org.apache.flink.table.data.binary.BinaryStringData.fromString(topic.toString()), number);
        partitions.add(partition);
        return partition;
    }

    private void mark(Partition partition) {
        partition.mark(partition.last == null ? Partition.NONE
                : time(partition.last, Math.floorDiv(partition.millis, 1000L)));
    }

    private void look() {
        processingTimeService.registerTimer(processingTimeService.getCurrentProcessingTime() + MILLIS, this);
        timed = true;
    }

    public void onProcessingTime(long now) throws Exception {
        timed = false;
        int looks = read == seen ? NOTHING : 1;
        seen = read;
        for (int i = 0; i < partitions.size(); i++) {
            Partition partition = (Partition) partitions.get(i);
            if (partition.read > partition.marked) {
                mark(partition);
            }
            partition.listen(looks);
        }
        align();
    }

    // The slowest is never ahead of itself, so one is always read.
    private void align() throws Exception {
        long slowest = Long.MAX_VALUE;
        for (int i = 0; i < partitions.size(); i++) {
            slowest = Math.min(slowest, ((Partition) partitions.get(i)).latestUnlessSilent());
        }
        java.util.ArrayList pause = new java.util.ArrayList();
        java.util.ArrayList resume = new java.util.ArrayList();
        for (int i = 0; i < partitions.size(); i++) {
            Partition partition = (Partition) partitions.get(i);
            boolean hold = partition.ahead(slowest) > (partition.paused ? most / 2L : most);
            if (hold != partition.paused) {
                (hold ? pause : resume).add(partition.split());
                partition.paused = hold;
            }
            if (hold && !timed) {
                look();  // nobody else may look at this one any more
            }
        }
        if (!pause.isEmpty() || !resume.isEmpty()) {
            reader().pauseOrResumeSplits(pause, resume);
        }
    }

    // Behind the source's own word, since it comes before this operator. To resume what is not paused does nothing else.
    public void notifyCheckpointComplete(long id) throws Exception {
        super.notifyCheckpointComplete(id);
        for (int i = 0; i < partitions.size(); i++) {
            Partition partition = (Partition) partitions.get(i);
            if (!partition.paused) {
                reader().pauseOrResumeSplits(new java.util.ArrayList(),
                        java.util.Collections.singletonList(partition.split()));
                return;
            }
        }
    }

    private org.apache.flink.api.connector.source.SourceReader reader() throws Exception {
        if (reader == null) {
            java.lang.reflect.Field chain =
                    org.apache.flink.streaming.runtime.tasks.StreamTask.class.getDeclaredField("operatorChain");
            chain.setAccessible(true);
            reader = ((org.apache.flink.streaming.api.operators.SourceOperator)
                    ((org.apache.flink.streaming.runtime.tasks.OperatorChain) chain.get(getContainingTask()))
                            .getMainOperator()).getSourceReader();
        }
        return reader;
    }

    // A message's time in nanoseconds; NONE where it has none that admission would take (udfs/stages/admission.py).
    private long time(byte[] message, long stamp) {
        try {
            java.nio.ByteBuffer from = java.nio.ByteBuffer.wrap(message);
            String kinds = from.get() == 0 ? (String) before.get(Integer.valueOf(from.getInt())) : null;
            if (kinds == null) {
                return Partition.NONE;
            }
            for (int i = 0; i < kinds.length(); i++) {
                long number = number(from);
                if (kinds.charAt(i) == 's') {
                    from.position(Math.addExact(from.position(), Math.toIntExact(number)));
                }
            }
            long time = number(from);
            return stamp >= 0L && time / 1000000000L - stamp > mostAheadSeconds + 1L ? Partition.NONE : time;
        } catch (RuntimeException damaged) {  // admission says so
            return Partition.NONE;
        }
    }

    private static long number(java.nio.ByteBuffer from) {
        long value = 0L;
        for (int shift = 0; shift < 64; shift += 7) {
            long next = from.get();
            value |= (next & 0x7fL) << shift;
            if (next >= 0L) {
                return value >>> 1 ^ -(value & 1L);
            }
        }
        throw new IllegalArgumentException("a whole number of more than 64 bits");
    }

    private static final class Partition {
        static final long NONE = Long.MIN_VALUE;
        final org.apache.flink.table.data.StringData topic;
        final int number;
        boolean paused = false;
        byte[] last = null;
        long millis = 0L;
        long read = 0L;
        long marked = 0L;
        private final java.util.ArrayDeque marks = new java.util.ArrayDeque();
        private long latest = NONE;
        private long reached = 0L;
        private long seen = 0L;
        private int looks = 0;

        Partition(org.apache.flink.table.data.StringData topic, int number) {
            this.topic = topic;
            this.number = number;
        }

        String split() {
            return topic + "-" + number;
        }

        void mark(long time) {
            marked = read;
            latest = Math.max(latest, time);
            if (latest != NONE) {
                marks.addLast(new long[] {latest, read});
            }
        }

        // To be called at each look, with how many it counts for.
        void listen(int more) {
            looks = paused || read > seen ? 0 : looks + more;
            seen = read;
        }

        long latestUnlessSilent() {
            return latest == NONE || looks >= SILENT ? Long.MAX_VALUE : latest;
        }

        // How many of its messages are later than a time.
        long ahead(long time) {
            while (!marks.isEmpty() && ((long[]) marks.peekFirst())[0] <= time) {
                reached = ((long[]) marks.pollFirst())[1];
            }
            return latest == NONE ? 0L : read - reached;
        }
    }
}
