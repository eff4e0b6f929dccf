// Uses pgx, Go's driver, as programs do: every way to send a statement, types in binary and in text, batches, pools and database/sql.
//
// Usage: postgres PORT
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"math/big"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib"
)

const ordered = "SELECT span_name FROM spans ORDER BY timestamp"

var names = []string{"GET /cart", "SELECT cart", "GET /", "render"}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	address := fmt.Sprintf("postgres://ada@127.0.0.1:%s/traces?sslmode=disable", os.Args[1])
	modes := []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	}
	for _, mode := range modes {
		config := must(pgx.ParseConfig(address))
		config.DefaultQueryExecMode = mode
		connection := must(pgx.ConnectConfig(ctx, config))
		statements(ctx, connection, mode)
		try(connection.Close(ctx))
	}
	connection := must(pgx.Connect(ctx, address))
	types(ctx, connection)
	batches(ctx, connection)
	copies(ctx, connection)
	cancels(ctx, connection)
	try(connection.Close(ctx))
	pools(ctx, address)
	databaseSQL(ctx, address)
	fmt.Println("pgx")
}

func statements(ctx context.Context, connection *pgx.Conn, mode pgx.QueryExecMode) {
	for round := 0; round < 2; round++ {
		rows := must(connection.Query(ctx, ordered))
		same(mode.String()+" names", must(pgx.CollectRows(rows, pgx.RowTo[string])), names)
		var count int64
		since := time.Date(2023, 11, 14, 22, 13, 20, 0, time.UTC)
		try(connection.QueryRow(ctx, "SELECT count(*) FROM spans WHERE service_name = $1 AND duration_ns > $2 AND timestamp >= $3", "frontend", int64(10_000_000), since).Scan(&count))
		same(mode.String()+" parameters", count, int64(1))
		try(connection.QueryRow(ctx, "SELECT count(*) FROM spans WHERE span_name = ANY($1::text[])", []string{"GET /", "render"}).Scan(&count))
		same(mode.String()+" list", count, int64(2))
		_, err := connection.Exec(ctx, "SELECT nothing FROM spans")
		var refused *pgconn.PgError
		if !errors.As(err, &refused) || refused.Code != "42703" {
			log.Fatalf("%v: %v", mode, err)
		}
	}
}

func types(ctx context.Context, connection *pgx.Conn) {
	for _, format := range []int16{pgx.TextFormatCode, pgx.BinaryFormatCode} {
		var (
			truth     bool
			small     int16
			integer   int32
			long      int64
			double    float64
			numeric   pgtype.Numeric
			text      string
			bytes     []byte
			day       time.Time
			moment    time.Time
			interval  pgtype.Interval
			integers  []*int32
			texts     []string
			json      map[string]any
			nothing   *string
			statement = `SELECT true, 1::smallint, 2::int, 3::bigint, 1.5::float8, -12345678901234567890.125::numeric(30,3), 'é', '\x00ff'::bytea, date '2024-02-29',
				timestamptz '2024-02-29 01:02:03.000004+02', interval '1 month 2 days 3 seconds', array[1, NULL], array['a', 'b,c'], '{"a": "b"}'::jsonb, NULL::text`
		)
		formats := make(pgx.QueryResultFormats, 15)
		for at := range formats {
			formats[at] = format
		}
		row := connection.QueryRow(ctx, statement, formats)
		try(row.Scan(&truth, &small, &integer, &long, &double, &numeric, &text, &bytes, &day, &moment, &interval, &integers, &texts, &json, &nothing))
		same("numbers", []any{truth, small, integer, long, double}, []any{true, int16(1), int32(2), int64(3), 1.5})
		exact, _ := new(big.Rat).SetString("-12345678901234567890.125")
		got := new(big.Rat).SetInt(numeric.Int)
		got.Mul(got, new(big.Rat).SetFrac(big.NewInt(1), new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(-numeric.Exp)), nil)))
		same("numeric", got.Cmp(exact), 0)
		same("texts", []any{text, string(bytes), nothing == nil}, []any{"é", "\x00\xff", true})
		same("times", []any{day.Format(time.DateOnly), moment.UTC().Format(time.RFC3339Nano)}, []any{"2024-02-29", "2024-02-28T23:02:03.000004Z"})
		same("interval", interval, pgtype.Interval{Months: 1, Days: 2, Microseconds: 3_000_000, Valid: true})
		same("arrays", []any{*integers[0], integers[1] == nil, texts}, []any{int32(1), true, []string{"a", "b,c"}})
		same("json", json, map[string]any{"a": "b"})
	}
	var attributes map[string]any
	try(connection.QueryRow(ctx, "SELECT attributes FROM spans WHERE span_name = 'GET /'").Scan(&attributes))
	same("attributes", attributes["http.route"], "/")
	for _, value := range []any{true, int16(1), int32(2), int64(3), 1.5, "text", []byte{0, 255}, []int64{1, 2}, []string{"a"}, []float64{1.5}} {
		kind := map[string]string{"bool": "bool", "int16": "int2", "int32": "int4", "int64": "int8", "float64": "float8", "string": "text", "[]uint8": "bytea", "[]int64": "int8[]", "[]string": "text[]", "[]float64": "float8[]"}[fmt.Sprintf("%T", value)]
		back := reflect.New(reflect.TypeOf(value))
		try(connection.QueryRow(ctx, "SELECT $1::"+kind, value).Scan(back.Interface()))
		same(kind, back.Elem().Interface(), value)
	}
}

func batches(ctx context.Context, connection *pgx.Conn) {
	batch := &pgx.Batch{}
	for number := range 20 {
		batch.Queue("SELECT $1::int + 1", number)
	}
	results := connection.SendBatch(ctx, batch)
	for number := range 20 {
		var got int
		try(results.QueryRow().Scan(&got))
		same("batch", got, number+1)
	}
	try(results.Close())
	transaction := must(connection.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}))
	must(transaction.Exec(ctx, "DECLARE some CURSOR FOR "+ordered))
	rows := must(transaction.Query(ctx, "FETCH 3 FROM some"))
	same("cursor", must(pgx.CollectRows(rows, pgx.RowTo[string])), names[:3])
	try(transaction.Commit(ctx))
}

func copies(ctx context.Context, connection *pgx.Conn) {
	var out strings.Builder
	must(connection.PgConn().CopyTo(ctx, &out, "COPY ("+ordered+") TO STDOUT"))
	same("copy", out.String(), strings.Join(names, "\n")+"\n")
}

func cancels(ctx context.Context, connection *pgx.Conn) {
	short, stop := context.WithTimeout(ctx, 300*time.Millisecond)
	defer stop()
	_, err := connection.Exec(short, "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b")
	if !errors.Is(err, context.DeadlineExceeded) {
		log.Fatalf("a statement that takes too long: %v", err)
	}
}

func pools(ctx context.Context, address string) {
	pool := must(pgxpool.New(ctx, address))
	defer pool.Close()
	answers := make(chan error, 8)
	for range 8 {
		go func() {
			var count int
			err := pool.QueryRow(ctx, "SELECT count(*) FROM spans").Scan(&count)
			if err == nil && count != 4 {
				err = fmt.Errorf("%d spans", count)
			}
			answers <- err
		}()
	}
	for range 8 {
		try(<-answers)
	}
}

func databaseSQL(ctx context.Context, address string) {
	pool := must(sql.Open("pgx", address))
	defer pool.Close()
	rows := must(pool.QueryContext(ctx, "SELECT span_name, timestamp, parent_span_id FROM spans WHERE service_name = $1 ORDER BY timestamp", "frontend"))
	kinds := must(rows.ColumnTypes())
	same("column types", []string{kinds[0].DatabaseTypeName(), kinds[1].DatabaseTypeName()}, []string{"TEXT", "TIMESTAMPTZ"})
	found := 0
	for rows.Next() {
		var name string
		var at time.Time
		var parent sql.NullString
		try(rows.Scan(&name, &at, &parent))
		found++
	}
	try(rows.Err())
	same("database/sql", found, 3)
}

func must[T any](value T, err error) T {
	try(err)
	return value
}

func try(err error) {
	if err != nil {
		panic(err)
	}
}

func same(what string, got, expected any) {
	if !reflect.DeepEqual(got, expected) {
		log.Fatalf("%s: got %#v, expected %#v", what, got, expected)
	}
}
