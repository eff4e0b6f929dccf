-- Functions of PostgreSQL that are an expression of others: each call is replaced by what stands behind RETURN.
-- An argument may be named twice, so none of these is given anything that changes from call to call.

CREATE FUNCTION age(t timestamp) RETURN age_between(current_date::timestamp, t::timestamp);
CREATE FUNCTION age(later timestamp, earlier timestamp) RETURN age_between(later::timestamp, earlier::timestamp);
CREATE FUNCTION date(t timestamp) RETURN t::date;
CREATE FUNCTION date_trunc(unit text, t timestamptz, zone text) RETURN timezone(zone, date_trunc(unit, timezone(zone, t)));
CREATE FUNCTION div(a numeric, b numeric) RETURN trunc(a / b);
CREATE FUNCTION isfinite(t timestamptz) RETURN t IS NOT NULL OR NULL;
CREATE FUNCTION jsonb_typeof(j jsonb)
    RETURN CASE WHEN j IS NULL THEN NULL ELSE CASE left(ltrim(j), 1)
        WHEN '{' THEN 'object' WHEN '[' THEN 'array' WHEN '"' THEN 'string' WHEN 't' THEN 'boolean' WHEN 'f' THEN 'boolean'
        WHEN 'n' THEN 'null' ELSE 'number' END END;
CREATE FUNCTION make_interval(years int DEFAULT 0, months int DEFAULT 0, weeks int DEFAULT 0, days int DEFAULT 0, hours int DEFAULT 0, mins int DEFAULT 0, secs double precision DEFAULT 0)
    RETURN INTERVAL '1 year' * years + INTERVAL '1 month' * months + INTERVAL '7 days' * weeks + INTERVAL '1 day' * days
        + INTERVAL '1 hour' * hours + INTERVAL '1 minute' * mins + INTERVAL '1 second' * secs;
CREATE FUNCTION make_timestamp(y int, mo int, d int, h int, mi int, s double precision)
    RETURN make_date(y, mo, d)::timestamp + INTERVAL '1 hour' * h + INTERVAL '1 minute' * mi + INTERVAL '1 second' * s;
CREATE FUNCTION mod(a numeric, b numeric) RETURN a % b;
CREATE FUNCTION quote_literal(t text) RETURN '''' || replace(t::text, '''', '''''') || '''';
CREATE FUNCTION quote_nullable(t text) RETURN coalesce('''' || replace(t::text, '''', '''''') || '''', 'NULL');
CREATE FUNCTION sign(x numeric) RETURN signum(x);
CREATE FUNCTION to_date(t text, pattern text) RETURN date_by_pattern(t, pattern);
CREATE FUNCTION to_timestamp(t text, pattern text) RETURN time_by_pattern(t, pattern);
CREATE FUNCTION width_bucket(x double precision, low double precision, high double precision, buckets int)
    RETURN CASE WHEN x < low THEN 0 WHEN x >= high THEN buckets + 1 ELSE floor((x - low) * buckets / (high - low))::bigint + 1 END;
CREATE FUNCTION log_bucket(x double precision, per_octave int DEFAULT 2)
    RETURN CASE WHEN x > 0 THEN power(2.0, ceil(log2(x::double precision) * within(per_octave, 1, 100, 'per_octave')) / within(per_octave, 1, 100, 'per_octave')) WHEN x <= 0 THEN 0.0 END;
