import java.math.BigDecimal;
import java.sql.Array;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.LocalDate;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;

/** PostgreSQL's JDBC driver: both protocols, parts of a result, types in text and in binary, and what tools ask of metadata. Usage: Postgres PORT. */
public final class Postgres {
  static final List<String> NAMES = List.of("GET /cart", "SELECT cart", "GET /", "render");
  static final String ORDERED = "SELECT span_name FROM spans ORDER BY timestamp";
  static final List<String> failed = new ArrayList<>();

  public static void main(String[] arguments) throws Exception {
    String address = "jdbc:postgresql://127.0.0.1:" + arguments[0] + "/spanhouse?user=ada&sslmode=disable";
    for (String mode : List.of("simple", "extended", "extendedForPrepared", "extendedCacheEverything")) {
      try (Connection connection = DriverManager.getConnection(address + "&prepareThreshold=1&preferQueryMode=" + mode)) {
        statements(connection, mode);
        types(connection, mode);
      }
    }
    try (Connection connection = DriverManager.getConnection(address + "&prepareThreshold=-1")) {
      types(connection, "binary");
    }
    try (Connection connection = DriverManager.getConnection(address)) {
      metadata(connection.getMetaData());
      cancels(connection);
      java.io.StringWriter out = new java.io.StringWriter();
      long rows = new CopyManager(connection.unwrap(org.postgresql.core.BaseConnection.class)).copyOut("COPY (" + ORDERED + ") TO STDOUT", out);
      same("copy", out.toString(), String.join("\n", NAMES) + "\n");
      same("rows of the copy", rows, 4L);
    }
    if (!failed.isEmpty()) {
      throw new AssertionError(String.join("\n", failed));
    }
    System.out.println("JDBC");
  }

  static void statements(Connection connection, String mode) throws SQLException {
    same(mode + " names", strings(connection, ORDERED), NAMES);
    String counted = "SELECT count(*) FROM spans WHERE service_name = ? AND duration_ns > ? AND timestamp >= ?";
    try (PreparedStatement statement = connection.prepareStatement(counted)) {
      for (int round = 0; round < 7; round++) {
        statement.setString(1, "frontend");
        statement.setLong(2, 10_000_000);
        statement.setObject(3, OffsetDateTime.of(2023, 11, 14, 22, 13, 20, 0, ZoneOffset.UTC));
        try (ResultSet rows = statement.executeQuery()) {
          rows.next();
          same(mode + " parameters, round " + round, rows.getLong(1), 1L);
        }
      }
    }
    try (PreparedStatement statement = connection.prepareStatement("SELECT count(*) FROM spans WHERE timestamp < ?")) {
      statement.setTimestamp(1, java.sql.Timestamp.from(java.time.Instant.parse("2023-11-14T22:13:21Z")));
      try (ResultSet rows = statement.executeQuery()) {
        rows.next();
        same(mode + " timestamp", rows.getLong(1), 2L);
      }
    }
    try (PreparedStatement statement = connection.prepareStatement("SELECT count(*) FROM spans WHERE span_name = ANY(?)")) {
      statement.setArray(1, connection.createArrayOf("text", new String[] {"GET /", "render"}));
      try (ResultSet rows = statement.executeQuery()) {
        rows.next();
        same(mode + " array", rows.getLong(1), 2L);
      }
    }
    connection.setAutoCommit(false);
    try (Statement statement = connection.createStatement()) {
      statement.setFetchSize(100);
      try (ResultSet rows = statement.executeQuery("SELECT value FROM generate_series(1, 1000)")) {
        int count = 0;
        while (rows.next()) {
          count++;
        }
        same(mode + " fetch size", count, 1000);
      }
    }
    try (Statement statement = connection.createStatement()) {
      statement.executeQuery("SELECT nothing FROM spans");
      failed.add(mode + ": an unknown column was taken");
    } catch (SQLException refused) {
      same(mode + " state", refused.getSQLState(), "42703");
    }
    connection.rollback();
    connection.setReadOnly(true);
    connection.setTransactionIsolation(Connection.TRANSACTION_REPEATABLE_READ);
    same(mode + " after a rollback", strings(connection, "SELECT 'on'").get(0), "on");
    var savepoint = connection.setSavepoint();
    connection.rollback(savepoint);
    connection.commit();
    connection.setReadOnly(false);
    connection.setAutoCommit(true);
    same(mode + " valid", connection.isValid(5), true);
    same(mode + " schema", connection.getSchema(), "traces");
    same(mode + " catalog", connection.getCatalog(), "spanhouse");
    // The simple protocol has no such limit, and the driver does not make up for it.
    if (mode.equals("extended") || mode.equals("extendedCacheEverything")) {
      try (Statement statement = connection.createStatement()) {
        statement.setMaxRows(2);
        try (ResultSet rows = statement.executeQuery(ORDERED)) {
          int count = 0;
          while (rows.next()) {
            count++;
          }
          same(mode + " most rows", count, 2);
        }
      }
    }
  }

  static void types(Connection connection, String mode) throws SQLException {
    String every = "SELECT true, 1::smallint, 2::int, 3::bigint, 0.5::real, 1.5::float8, 12.50::numeric(10,2), 'é', '\\x00ff'::bytea, date '2024-02-29',"
        + " timestamptz '2024-02-29 01:02:03.000004+02', timestamp '2024-02-29 01:02:03', interval '1 month 2 days 3 seconds',"
        + " array[1, NULL]::int[], array['a,b', NULL], '{\"a\": 1}'::jsonb, NULL::text";
    try (PreparedStatement statement = connection.prepareStatement(every); ResultSet rows = statement.executeQuery()) {
      rows.next();
      same(mode + " boolean", rows.getBoolean(1), true);
      same(mode + " integers", List.of(rows.getInt(2), rows.getInt(3), rows.getLong(4)), List.of(1, 2, 3L));
      same(mode + " doubles", List.of(rows.getFloat(5), rows.getDouble(6)), List.of(0.5f, 1.5));
      same(mode + " numeric", rows.getBigDecimal(7), new BigDecimal("12.50"));
      same(mode + " text", rows.getString(8), "é");
      same(mode + " bytes", Arrays.equals(rows.getBytes(9), new byte[] {0, (byte) 0xff}), true);
      same(mode + " date", rows.getObject(10, LocalDate.class), LocalDate.of(2024, 2, 29));
      same(mode + " time", rows.getObject(11, OffsetDateTime.class).toInstant().toString(), "2024-02-28T23:02:03.000004Z");
      same(mode + " time without zone", rows.getObject(12, java.time.LocalDateTime.class).toString(), "2024-02-29T01:02:03");
      org.postgresql.util.PGInterval interval = (org.postgresql.util.PGInterval) rows.getObject(13);
      same(mode + " interval", List.of(interval.getMonths(), interval.getDays(), interval.getSeconds()), List.of(1, 2, 3.0));
      same(mode + " array", Arrays.asList((Object[]) rows.getArray(14).getArray()), Arrays.asList(1, null));
      Array texts = rows.getArray(15);
      same(mode + " texts", Arrays.asList((Object[]) texts.getArray()), Arrays.asList("a,b", null));
      same(mode + " json", rows.getString(16).replace(" ", ""), "{\"a\":1}");
      same(mode + " nothing", rows.getString(17) == null && rows.wasNull(), true);
      same(mode + " names of types", List.of(rows.getMetaData().getColumnTypeName(11), rows.getMetaData().getColumnTypeName(16)), List.of("timestamptz", "jsonb"));
    }
  }

  static void metadata(DatabaseMetaData metadata) throws SQLException {
    same("product", metadata.getDatabaseProductName(), "PostgreSQL");
    same("schemas", column(metadata.getSchemas(), "TABLE_SCHEM").contains("traces"), true);
    same("catalogs", column(metadata.getCatalogs(), "TABLE_CAT"), List.of("spanhouse"));
    same("tables", column(metadata.getTables(null, "traces", "%", new String[] {"TABLE", "VIEW"}), "TABLE_NAME").containsAll(Set.of("spans", "traces")), true);
    List<String> columns = column(metadata.getColumns(null, "traces", "spans", "%"), "COLUMN_NAME");
    same("columns", columns.subList(0, 3), List.of("timestamp", "end_timestamp", "trace_id"));
    same("types of columns", column(metadata.getColumns(null, "traces", "spans", "duration_%"), "TYPE_NAME"), List.of("float8", "int8"));
    same("keys", column(metadata.getPrimaryKeys(null, "traces", "spans"), "COLUMN_NAME"), List.of());
    same("imported keys", column(metadata.getImportedKeys(null, "traces", "spans"), "PKCOLUMN_NAME"), List.of());
    same("exported keys", column(metadata.getExportedKeys(null, "traces", "spans"), "PKCOLUMN_NAME"), List.of());
    same("indexes", column(metadata.getIndexInfo(null, "traces", "spans", false, true), "INDEX_NAME"), List.of());
    same("functions", column(metadata.getFunctions(null, "traces", "red"), "FUNCTION_NAME"), List.of("red"));
    same("arguments", column(metadata.getFunctionColumns(null, "traces", "red", "%"), "COLUMN_NAME").contains("width"), true);
    column(metadata.getProcedures(null, null, "%"), "PROCEDURE_NAME");
    same("types", column(metadata.getTypeInfo(), "TYPE_NAME").contains("timestamptz"), true);
    column(metadata.getTableTypes(), "TABLE_TYPE");
    column(metadata.getTablePrivileges(null, "traces", "spans"), "PRIVILEGE");
    column(metadata.getColumnPrivileges(null, "traces", "spans", "%"), "PRIVILEGE");
    column(metadata.getUDTs(null, null, "%", null), "TYPE_NAME");
    column(metadata.getBestRowIdentifier(null, "traces", "spans", 0, true), "COLUMN_NAME");
    column(metadata.getVersionColumns(null, "traces", "spans"), "COLUMN_NAME");
    column(metadata.getClientInfoProperties(), "NAME");
    same("words", metadata.getSQLKeywords().isEmpty(), false);
  }

  static void cancels(Connection connection) throws Exception {
    try (Statement statement = connection.createStatement()) {
      statement.setQueryTimeout(1);
      statement.executeQuery("SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b");
      failed.add("a statement without end came to one");
    } catch (SQLException stopped) {
      same("timeout", stopped.getSQLState(), "57014");
    }
    same("notifications", connection.unwrap(PGConnection.class).getNotifications().length, 0);
  }

  static List<String> strings(Connection connection, String sql) throws SQLException {
    try (Statement statement = connection.createStatement()) {
      return column(statement.executeQuery(sql), null);
    }
  }

  /** A column's values; the first column without a name. */
  static List<String> column(ResultSet rows, String name) throws SQLException {
    List<String> values = new ArrayList<>();
    try (rows) {
      while (rows.next()) {
        values.add(name == null ? rows.getString(1) : rows.getString(name));
      }
    }
    return values;
  }

  static void same(String what, Object got, Object expected) {
    if (!Objects.equals(got, expected)) {
      failed.add(what + ": got " + got + ", expected " + expected);
    }
  }
}
