// node-postgres, its cursors and its streams.
//
// usage: postgres.mjs PORT

import assert from 'node:assert/strict';
import pg from 'pg';
import Cursor from 'pg-cursor';
import QueryStream from 'pg-query-stream';

const options = { host: '127.0.0.1', port: Number(process.argv[2]), user: 'ada', database: 'traces' };
const NAMES = ['GET /cart', 'SELECT cart', 'GET /', 'render'];
const ORDERED = 'SELECT span_name FROM spans ORDER BY timestamp';

const client = new pg.Client(options);
await client.connect();

const plain = await client.query(ORDERED);
assert.deepEqual(plain.rows.map((row) => row.span_name), NAMES);
assert.equal(plain.rowCount, 4);
assert.equal(plain.command, 'SELECT');

const types = await client.query(`SELECT true AS bool, 7::int AS int, 9223372036854775807 AS bigint, 1.5::float8 AS float, 12.50::numeric(10,2) AS numeric,
  'é' AS text, '\\x00ff'::bytea AS bytea, timestamptz '2024-02-29 01:02:03.004Z' AS time, interval '1 day 2 hours' AS span,
  array[1, NULL, 3]::int[] AS ints, array['a,b', NULL] AS texts, '{"a": [1]}'::jsonb AS json, NULL AS nothing`);
const [row] = types.rows;
assert.deepEqual(
  [row.bool, row.int, row.bigint, row.float, row.numeric, row.text, row.nothing],
  [true, 7, '9223372036854775807', 1.5, '12.50', 'é', null],
);
assert.deepEqual([...row.bytea], [0, 255]);
assert.equal(row.time.toISOString(), '2024-02-29T01:02:03.004Z');
assert.deepEqual({ ...row.span }, { days: 1, hours: 2 });
assert.deepEqual([row.ints, row.texts], [[1, null, 3], ['a,b', null]]);
assert.deepEqual(row.json, { a: [1] });

// pg-protocol reads binary values as UTF-8, so that only those of bytes below 128 come through.
const binary = await client.query({ text: 'SELECT 7::int AS int, $1::bigint AS bigint, true AS bool', values: [8], binary: true });
assert.deepEqual([binary.rows[0].int, String(binary.rows[0].bigint), binary.rows[0].bool], [7, '8', true]);

const bound = await client.query(
  'SELECT count(*)::int AS n FROM spans WHERE service_name = $1 AND duration_ms > $2 AND timestamp >= $3 AND span_name = ANY($4)',
  ['frontend', 1.4, new Date('2023-11-14T22:13:20Z'), ['GET /', 'GET /cart']],
);
assert.equal(bound.rows[0].n, 2);
for (let round = 0; round < 3; round += 1) {
  const named = await client.query({ name: 'by-service', text: 'SELECT count(*)::int AS n FROM spans WHERE service_name = $1', values: ['cart'] });
  assert.equal(named.rows[0].n, 1);
}
const arrays = await client.query({ text: ORDERED, rowMode: 'array' });
assert.deepEqual(arrays.rows[3], ['render']);
const several = await client.query('SELECT 1 AS a; SELECT 2 AS b');
assert.deepEqual(several.map((result) => Number(Object.values(result.rows[0])[0])), [1, 2]);

await assert.rejects(client.query('SELECT nothing FROM spans'), { code: '42703' });
await assert.rejects(client.query('SELECT nothing FROM spans WHERE span_name = $1', ['x']), { code: '42703' });
await assert.rejects(client.query("DELETE FROM spans"), { code: '42501' });
assert.equal((await client.query('SELECT 3::int AS n')).rows[0].n, 3);

const cursor = client.query(new Cursor('SELECT n FROM generate_series(1, $1::int) AS s(n) ORDER BY 1', [250]));
let read = [];
for (let rows = await cursor.read(100); rows.length > 0; rows = await cursor.read(100)) {
  assert.ok(rows.length <= 100);
  read = read.concat(rows.map((found) => Number(found.n)));
}
assert.deepEqual(read, Array.from({ length: 250 }, (_, index) => index + 1));
await cursor.close();

const early = client.query(new Cursor('SELECT n FROM generate_series(1, 1000000) AS s(n)'));
assert.equal((await early.read(10)).length, 10);
await early.close();

let streamed = 0;
for await (const _ of client.query(new QueryStream('SELECT n FROM generate_series(1, 10000) AS s(n)', [], { batchSize: 500 }))) streamed += 1;
assert.equal(streamed, 10_000);

const notices = [];
client.on('notice', (notice) => notices.push(notice));
await client.query('BEGIN; SELECT 1; COMMIT');
await client.end();

const pool = new pg.Pool({ ...options, max: 3, statement_timeout: 300 });
const counts = await Promise.all(Array.from({ length: 9 }, () => pool.query('SELECT count(*)::int AS n FROM spans')));
assert.deepEqual(counts.map((result) => result.rows[0].n), Array(9).fill(4));
await assert.rejects(pool.query('SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b'), { code: '57014' });
await pool.end();
console.log('node-postgres');
