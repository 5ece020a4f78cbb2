// SPDX-License-Identifier: Apache-2.0

#include "login.h"

#include <amqp_framing.h>
#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>
#include <sys/time.h>

#include <array>
#include <charconv>

#include "broker_error.h"
#include "openmessaging/internal/text.h"

namespace openmessaging::rabbitmq {
namespace {

constexpr int kFrameBytes = 131072;

timeval ToTimeval(std::chrono::milliseconds time) {
  timeval value{};
  value.tv_sec = time.count() / 1000;
  value.tv_usec = time.count() % 1000 * 1000;
  return value;
}

amqp_table_entry_t Switch(const char* key, bool on) {
  amqp_table_entry_t entry{};
  entry.key = amqp_cstring_bytes(key);
  entry.value.kind = AMQP_FIELD_KIND_BOOLEAN;
  entry.value.value.boolean = on ? 1 : 0;
  return entry;
}

amqp_table_entry_t Entry(const char* key, std::string_view text) {
  amqp_table_entry_t entry{};
  entry.key = amqp_cstring_bytes(key);
  entry.value.kind = AMQP_FIELD_KIND_UTF8;
  entry.value.value.bytes = ToBytes(text);
  return entry;
}

absl::Status NoTls(std::string_view where, std::string_view what, int result) {
  return MakeStatus(Code::kBadParameter, "connect to \"", where, "\": ", what,
                    ": ", std::string_view(amqp_error_string2(result)));
}

absl::StatusOr<amqp_socket_t*> MakeSocket(amqp_connection_state_t connection,
                                          const TlsConfig& tls,
                                          std::string_view where) {
  amqp_socket_t* const socket = tls.enabled ? amqp_ssl_socket_new(connection)
                                            : amqp_tcp_socket_new(connection);
  if (socket == nullptr) return BrokenLink("connect to", where, "no socket");
  if (!tls.enabled) return socket;
  amqp_ssl_socket_set_verify_peer(socket, 1);
  amqp_ssl_socket_set_verify_hostname(socket, 1);
  amqp_ssl_socket_set_ssl_versions(socket, AMQP_TLSv1_2, AMQP_TLSvLATEST);
  if (!tls.ca_file.empty()) {
    const int set = amqp_ssl_socket_set_cacert(socket, tls.ca_file.c_str());
    if (set != AMQP_STATUS_OK) return NoTls(where, "tls.ca-file", set);
  }
  if (!tls.cert_file.empty()) {
    const int set = amqp_ssl_socket_set_key(socket, tls.cert_file.c_str(),
                                            tls.key_file.c_str());
    if (set != AMQP_STATUS_OK) {
      return NoTls(where, "tls.cert-file, tls.key-file", set);
    }
  }
  return socket;
}

// A refusal of credentials is a 403 here, of a virtual host a 530.
absl::Status LoginRefused(const Config& config, std::string_view where,
                          const amqp_connection_close_t& close) {
  const std::string_view text = View(close.reply_text);
  if (close.reply_code != AMQP_ACCESS_REFUSED) {
    return RefusedBy("connect to", where, close.reply_code, text);
  }
  absl::Status said = RefusedBy("connect to", where, close.reply_code, text);
  StatusDetail detail = DefaultDetail(Code::kUnauthorized);
  detail.native = DetailOf(said).native;
  return WithDetail(
      MakeStatus(Code::kUnauthorized, "connect to \"", where,
                 "\": the broker refuses the credentials of account \"",
                 std::string_view(config.user), "\""),
      detail);
}

absl::Status LoginFailed(const Config& config, std::string_view where,
                         const amqp_rpc_reply_t& reply) {
  if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION &&
      reply.reply.id == AMQP_CONNECTION_CLOSE_METHOD) {
    return LoginRefused(
        config, where,
        *static_cast<const amqp_connection_close_t*>(reply.reply.decoded));
  }
  return BrokenLink("connect to", where,
                    reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION
                        ? amqp_error_string2(reply.library_error)
                        : "the broker ended the login");
}

int ReadNumber(std::string_view& text) {
  int number = 0;
  const auto end =
      std::from_chars(text.data(), text.data() + text.size(), number).ptr;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  if (!text.empty()) text.remove_prefix(1);
  return number;
}

}  // namespace

std::string Text(const Config::Host& host) {
  return internal::Concat(std::string_view(host.name), ':', host.port);
}

absl::StatusOr<ConnectionPointer> LogIn(const Config& config,
                                        const Config::Host& host,
                                        std::string_view purpose) {
  const std::string where = Text(host);
  ConnectionPointer connection(amqp_new_connection());
  if (connection == nullptr) {
    return BrokenLink("connect to", where, "out of memory");
  }
  const timeval limit = ToTimeval(config.connect_timeout);
  amqp_set_handshake_timeout(connection.get(), &limit);
  amqp_set_rpc_timeout(connection.get(), &limit);
  auto socket = MakeSocket(connection.get(), config.tls, where);
  if (!socket.ok()) return socket.status();
  const int opened =
      amqp_socket_open_noblock(*socket, host.name.c_str(), host.port, &limit);
  if (opened != AMQP_STATUS_OK) {
    return BrokenLink("connect to", where, amqp_error_string2(opened));
  }

  std::array<amqp_table_entry_t, 4> abilities = {
      Switch("publisher_confirms", true), Switch("basic.nack", true),
      Switch("consumer_cancel_notify", true),
      Switch("connection.blocked", true)};
  std::array<amqp_table_entry_t, 3> about = {
      Entry("product", "OpenMessaging for C++"),
      Entry("connection_name", purpose), Switch("capabilities", false)};
  about[2].value.kind = AMQP_FIELD_KIND_TABLE;
  about[2].value.value.table = {static_cast<int>(abilities.size()),
                                abilities.data()};
  const amqp_table_t properties = {static_cast<int>(about.size()),
                                   about.data()};
  const amqp_rpc_reply_t reply = amqp_login_with_properties(
      connection.get(), config.virtual_host.c_str(), 0, kFrameBytes,
      static_cast<int>(config.heartbeat.count()), &properties,
      AMQP_SASL_METHOD_PLAIN, config.user.c_str(), config.password.c_str());
  if (reply.reply_type == AMQP_RESPONSE_NORMAL) return connection;
  return LoginFailed(config, where, reply);
}

ServerInfo InfoOf(amqp_connection_state_t connection) {
  ServerInfo info;
  const amqp_table_t* const table = amqp_get_server_properties(connection);
  for (int i = 0; table != nullptr && i < table->num_entries; ++i) {
    const amqp_table_entry_t& entry = table->entries[i];
    if (entry.value.kind != AMQP_FIELD_KIND_UTF8) continue;
    std::string_view text = View(entry.value.value.bytes);
    if (View(entry.key) == "product") info.product = text;
    if (View(entry.key) == "version") {
      info.major = ReadNumber(text);
      info.minor = ReadNumber(text);
    }
  }
  return info;
}

}  // namespace openmessaging::rabbitmq
