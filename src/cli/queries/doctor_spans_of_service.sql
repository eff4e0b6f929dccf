SELECT count(*) AS spans FROM traces.spans WHERE service_name = $1
