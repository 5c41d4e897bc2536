import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.math.BigDecimal;
import java.net.HttpURLConnection;
import java.net.URI;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.avro.Conversions;
import org.apache.avro.Schema;
import org.apache.avro.data.TimeConversions;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.DecoderFactory;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Reads the topics of this kit and prints each change as a line of JSON, the changes of a key in order.
 *
 * <p>What is printed is committed a run at a time, and that is the word that it was received: after a kill the last run comes again,
 * and nothing is lost. Replace {@link #take} by what you do with a change; it must have it for good when it returns.
 *
 * <p>Arguments: the folder of the kit (default: the one above this), and after how many changes to stop (default: never).
 */
public final class Read {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final JsonNodeFactory NODES = JsonNodeFactory.instance;
    private static final int TRIES = 5;

    private final Map<Integer, Schema> schemas = new HashMap<>();
    private final GenericData data = new GenericData();
    private final JsonNode kit;

    private Read(JsonNode kit) {
        this.kit = kit;
        data.addLogicalTypeConversion(new Conversions.DecimalConversion());
        data.addLogicalTypeConversion(new Conversions.UUIDConversion());
        data.addLogicalTypeConversion(new TimeConversions.DateConversion());
        data.addLogicalTypeConversion(new TimeConversions.TimestampMicrosConversion());
        data.addLogicalTypeConversion(new TimeConversions.LocalTimestampMicrosConversion());
    }

    /** Have one change for good. */
    private static void take(ObjectNode change) {
        System.out.println(change);
    }

    public static void main(String[] arguments) throws IOException, InterruptedException {
        System.setProperty("org.slf4j.simpleLogger.defaultLogLevel", "warn");
        Path folder = Path.of(arguments.length > 0 ? arguments[0] : "..");
        long count = arguments.length > 1 ? Long.parseLong(arguments[1]) : Long.MAX_VALUE;
        JsonNode kit = JSON.readTree(Files.readString(folder.resolve("kit.json")));
        String login = System.getenv().getOrDefault("MESH_LOGIN", folder.resolve(kit.get("login_file").asText()).toString());
        new Read(kit).follow(settings(Path.of(login)), count);
    }

    private void follow(Properties settings, long count) throws IOException, InterruptedException {
        List<String> topics = new ArrayList<>(List.of(kit.get("ends").asText()));
        kit.get("topics").fieldNames().forEachRemaining(topics::add);
        long printed = 0;
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings)) {
            consumer.subscribe((Collection<String>) topics);
            while (printed < count) {
                Map<TopicPartition, OffsetAndMetadata> places = new HashMap<>();
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
                    if (printed >= count) {
                        break; // read, and not taken: it comes again
                    }
                    if (record.value() != null) { // one without a value follows each delete, and says no more
                        take(change(record));
                        printed++;
                    }
                    places.put(
                            new TopicPartition(record.topic(), record.partition()),
                            new OffsetAndMetadata(record.offset() + 1));
                }
                System.out.flush();
                if (!places.isEmpty()) {
                    consumer.commitSync(places);
                }
            }
        }
    }

    /** A truncate ({@code t}) empties a feed and has no key; on the topic of ends it says that a grant is over. */
    private ObjectNode change(ConsumerRecord<byte[], byte[]> record) throws IOException, InterruptedException {
        GenericRecord envelope = decode(record.value());
        GenericRecord source = (GenericRecord) envelope.get("source");
        String told = header(record, "topic", record.topic());
        ObjectNode change = NODES.objectNode();
        change.put("feed", kit.get("topics").path(told).path("feed").asText(told));
        change.put("op", envelope.get("op").toString());
        change.set("key", record.key().length > 0 ? json(decode(record.key())) : NODES.objectNode());
        change.set("before", json(envelope.get("before")));
        change.set("after", json(envelope.get("after")));
        Object unchanged = envelope.get("unchanged");
        change.set("unchanged", unchanged == null ? NODES.arrayNode() : json(unchanged));
        change.put("committed_at_ms", (Long) source.get("ts_ms"));
        change.set("position", json(source.get("sequence")));
        change.put("reason", header(record, "reason", null));
        change.putArray("place").add(record.topic()).add(record.partition()).add(record.offset());
        return change;
    }

    private static String header(ConsumerRecord<byte[], byte[]> record, String name, String otherwise) {
        Header header = record.headers().lastHeader(name);
        return header == null ? otherwise : new String(header.value(), StandardCharsets.UTF_8);
    }

    /** A zero byte, the schema's id in four bytes, then Avro. */
    private GenericRecord decode(byte[] bytes) throws IOException, InterruptedException {
        ByteBuffer buffer = ByteBuffer.wrap(bytes);
        if (bytes.length < 5 || buffer.get() != 0) {
            throw new IOException("a record is not in the Confluent wire format; nothing past it is committed");
        }
        int id = buffer.getInt();
        Schema schema = schemas.get(id);
        if (schema == null) {
            schema = ask(id);
            schemas.put(id, schema);
        }
        GenericDatumReader<GenericRecord> reader = new GenericDatumReader<>(schema, schema, data);
        return reader.read(null, DecoderFactory.get().binaryDecoder(bytes, 5, bytes.length - 5, null));
    }

    private Schema ask(int id) throws IOException, InterruptedException {
        URI address = URI.create(kit.get("registry").asText() + "/schemas/ids/" + id + "?format=resolved");
        String token = System.getenv("MESH_TOKEN");
        for (int attempt = 1; ; attempt++) {
            HttpURLConnection connection = (HttpURLConnection) address.toURL().openConnection();
            connection.setReadTimeout(15_000);
            if (token != null) {
                connection.setRequestProperty("Authorization", "Bearer " + token);
            }
            try (InputStream answer = connection.getInputStream()) {
                return new Schema.Parser().parse(JSON.readTree(answer).get("schema").asText());
            } catch (IOException error) {
                if (attempt == TRIES) {
                    throw new IOException(address + ": gives no schema; where it asks for a token, put that into MESH_TOKEN", error);
                }
                Thread.sleep(300L << attempt);
            }
        }
    }

    private static JsonNode json(Object value) {
        if (value == null) {
            return NODES.nullNode();
        } else if (value instanceof GenericRecord record) {
            ObjectNode node = NODES.objectNode();
            record.getSchema().getFields().forEach(field -> node.set(field.name(), json(record.get(field.pos()))));
            return node;
        } else if (value instanceof Map<?, ?> map) {
            ObjectNode node = NODES.objectNode();
            map.forEach((name, part) -> node.set(name.toString(), json(part)));
            return node;
        } else if (value instanceof Collection<?> collection) {
            ArrayNode node = NODES.arrayNode();
            collection.forEach(part -> node.add(json(part)));
            return node;
        } else if (value instanceof ByteBuffer buffer) {
            byte[] bytes = new byte[buffer.remaining()];
            buffer.duplicate().get(bytes);
            return NODES.textNode(HexFormat.of().formatHex(bytes));
        } else if (value instanceof BigDecimal decimal) {
            return NODES.textNode(decimal.toPlainString());
        } else if (value instanceof Boolean truth) {
            return NODES.booleanNode(truth);
        } else if (value instanceof Double number && Double.isFinite(number)) {
            return NODES.numberNode(number);
        } else if (value instanceof Float number && Float.isFinite(number)) {
            return NODES.numberNode(number);
        } else if (value instanceof Long number) {
            return NODES.numberNode(number);
        } else if (value instanceof Integer number) {
            return NODES.numberNode(number);
        }
        return NODES.textNode(value.toString());
    }

    /** The file that was handed over, which is written for librdkafka, by the names that Java's client has. */
    private static Properties settings(Path file) throws IOException {
        Properties settings = new Properties();
        for (String line : Files.readAllLines(file)) {
            int equals = line.indexOf('=');
            if (equals > 0 && !line.startsWith("#")) {
                settings.put(line.substring(0, equals), line.substring(equals + 1));
            }
        }
        Object user = settings.remove("sasl.username");
        Object password = settings.remove("sasl.password");
        settings.put(
                "sasl.jaas.config",
                "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"" + user + "\" password=\""
                        + password + "\";");
        Object ca = settings.remove("ssl.ca.location");
        if (ca != null) {
            settings.put("ssl.truststore.type", "PEM");
            settings.put("ssl.truststore.location", ca);
        }
        settings.put("key.deserializer", ByteArrayDeserializer.class.getName());
        settings.put("value.deserializer", ByteArrayDeserializer.class.getName());
        settings.put("enable.auto.commit", "false");
        settings.put("isolation.level", "read_committed");
        return settings;
    }
}
