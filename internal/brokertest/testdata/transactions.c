/*
 * Publishes requests in ROUNDS transactions of EACH, as an order service on
 * librdkafka does. Every second one is aborted when all of it is written. The
 * orders are PREFIX-kept-ROUND-I and PREFIX-aborted-ROUND-I.
 *
 *   transactions BOOTSTRAP TOPIC PREFIX ROUNDS EACH
 */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAIT_MS 30000

static int undelivered;

static void delivered(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque) {
	if (m->err) {
		fprintf(stderr, "not delivered: %s\n", rd_kafka_err2str(m->err));
		undelivered++;
	}
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value) {
	char why[512];
	if (rd_kafka_conf_set(conf, name, value, why, sizeof why) != RD_KAFKA_CONF_OK) {
		fprintf(stderr, "%s: %s\n", name, why);
		exit(1);
	}
}

static void must(const char *what, rd_kafka_error_t *err) {
	if (err) {
		fprintf(stderr, "%s: %s: %s\n", what, rd_kafka_error_name(err), rd_kafka_error_string(err));
		exit(1);
	}
}

int main(int argc, char **argv) {
	if (argc != 6) {
		fprintf(stderr, "transactions BOOTSTRAP TOPIC PREFIX ROUNDS EACH\n");
		return 2;
	}
	const char *topic = argv[2], *prefix = argv[3];
	int rounds = atoi(argv[4]), each = atoi(argv[5]);
	char why[512], id[512];
	snprintf(id, sizeof id, "%s-%s", topic, prefix);
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	set(conf, "bootstrap.servers", argv[1]);
	set(conf, "transactional.id", id);
	rd_kafka_conf_set_dr_msg_cb(conf, delivered);
	rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
	if (!rk) {
		fprintf(stderr, "producer: %s\n", why);
		return 1;
	}
	must("init transactions", rd_kafka_init_transactions(rk, WAIT_MS));
	for (int round = 0; round < rounds; round++) {
		int kept = round % 2 == 0;
		must("begin transaction", rd_kafka_begin_transaction(rk));
		for (int i = 0; i < each; i++) {
			char order[256], value[512];
			snprintf(order, sizeof order, "%s-%s-%d-%d", prefix, kept ? "kept" : "aborted", round, i);
			snprintf(value, sizeof value, "{\"mch_id\":\"1900000109\",\"out_trade_no\":\"%s\"}", order);
			rd_kafka_resp_err_t err = rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_KEY(order, strlen(order)),
				RD_KAFKA_V_VALUE(value, strlen(value)), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
			if (err) {
				fprintf(stderr, "%s: %s\n", order, rd_kafka_err2str(err));
				return 1;
			}
		}
		if (rd_kafka_flush(rk, WAIT_MS) || undelivered)
			return 1;
		if (kept)
			must("commit transaction", rd_kafka_commit_transaction(rk, WAIT_MS));
		else
			must("abort transaction", rd_kafka_abort_transaction(rk, WAIT_MS));
	}
	rd_kafka_destroy(rk);
	return 0;
}
