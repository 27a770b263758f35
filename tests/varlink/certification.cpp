// The service org.varlink.certification over the protocol library and the socket functions of the registry, for one
// client: each method returns something, and the next must be called with just that. At the end it says whether all was
// right. The interface's text is in the package that brings the client (tests/varlink/go).
//
// usage: certification SOCKET [MISTAKE]     MISTAKE: continues (never said), oneway (answered), value (another one)

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <iostream>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "os/socket.hpp"
#include "protocol/varlink.hpp"

namespace {

using namespace nimsync;  // NOLINT(google-build-using-namespace): this file is the program
using protocol::Json;

constexpr const char* kInterface = "org.varlink.certification";
constexpr int kParts = 10;

std::string part(int n) {
  return "Reply number " + std::to_string(n);
}

/// What the methods return, in their order.
const std::vector<std::pair<std::string, Json>>& steps() {
  static const Json text{{"bool", false}, {"int", 2}, {"float", 3.5}, {"string", "a lon\"g string"}};
  static const Json map{{"map", {{"foo", "Foo"}, {"bar", "Bar"}}}};
  static const Json set{{"one", Json::object()}, {"two", Json::object()}, {"three", Json::object()}};
  static const Json my_type{
      {"object", {{"any", Json::array({1, "thing", nullptr})}}},
      {"enum", "two"},
      {"struct", {{"first", 1}, {"second", "2"}}},
      {"array", {"one", "two", "three"}},
      {"dictionary", {{"foo", "Foo"}, {"bar", "Bar"}}},
      {"stringset", set},
      {"nullable", nullptr},
      {"nullable_array_struct", nullptr},
      {"interface",
       {{"foo", Json::array({nullptr, {{"foo", "foo"}, {"bar", "bar"}}, nullptr, {{"one", "foo"}, {"two", "bar"}}})},
        {"anon", {{"foo", true}, {"bar", false}}}}}};
  static const std::vector<std::pair<std::string, Json>> all{{"Start", Json::object()},
                                                             {"Test01", {{"bool", true}}},
                                                             {"Test02", {{"int", 1}}},
                                                             {"Test03", {{"float", 1.5}}},
                                                             {"Test04", {{"string", "ping \u00e4\u20ac"}}},
                                                             {"Test05", text},
                                                             {"Test06", {{"struct", text}}},
                                                             {"Test07", map},
                                                             {"Test08", {{"set", set}}},
                                                             {"Test09", {{"mytype", my_type}}},
                                                             {"Test10", Json::object()},
                                                             {"Test11", Json::object()},
                                                             {"End", Json::object()}};
  return all;
}

/// Without members that are null, which may as well be left out; those of arrays stay.
Json without_nulls(const Json& json) {
  if (!json.is_structured()) return json;
  Json out = json.is_array() ? Json::array() : Json::object();
  for (const auto& [key, value] : json.items()) {
    if (json.is_array()) {
      out.push_back(without_nulls(value));
    } else if (!value.is_null()) {
      out[key] = without_nulls(value);
    }
  }
  return out;
}

class Certification {
 public:
  explicit Certification(std::string mistake) : mistake_(std::move(mistake)) {}

  /// The bytes to send.
  std::string answer(const protocol::Call& call) {
    if (call.interface != kInterface) {
      return protocol::error_reply("org.varlink.service.InterfaceNotFound", {{"interface", call.interface}});
    }
    if (call.method != steps().at(next_).first) {
      return protocol::error_reply("org.varlink.service.MethodNotFound", {{"method", call.method}});
    }
    Json wanted = Json::object();  // what the method before returned
    if (next_ == 11) {
      wanted["last_more_replies"] = parts();
    } else if (next_ != 0) {
      wanted = steps().at(next_ - 1).second;
    }
    if (next_ != 0) wanted["client_id"] = kClient;
    const bool is_right = without_nulls(call.parameters) == without_nulls(wanted) && call.more == (next_ == 10) &&
                          call.oneway == (next_ == 11);
    all_ok_ = all_ok_ && is_right;
    if (!is_right) {
      return protocol::error_reply(std::string(kInterface) + ".CertificationError",
                                   {{"wants", wanted}, {"got", call.parameters}});
    }
    const std::size_t step = next_++;
    if (step == 0) return protocol::reply({{"client_id", kClient}});
    if (step == 10) {
      std::string all;
      for (int n = 1; n <= kParts; ++n) {
        all += protocol::reply({{"string", part(n)}}, n < kParts && mistake_ != "continues");
      }
      return all;
    }
    if (step == 11) return mistake_ == "oneway" ? protocol::reply(Json::object()) : "";
    if (step == 12) {
      next_ = 0;
      return protocol::reply({{"all_ok", all_ok_}});
    }
    if (step == 3 && mistake_ == "value") return protocol::reply({{"float", "1.5"}});
    return protocol::reply(steps().at(step).second);
  }

 private:
  static constexpr const char* kClient = "the only one";

  static std::vector<std::string> parts() {
    std::vector<std::string> all;
    for (int n = 1; n <= kParts; ++n) all.push_back(part(n));
    return all;
  }

  std::string mistake_;
  std::size_t next_ = 0;
  bool all_ok_ = true;
};

int serve(const std::string& path, const std::string& mistake) {
  const os::Descriptor listening{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) os::fail(ENAMETOOLONG, path);
  std::memcpy(address.sun_path, path.data(), path.size());
  if (::bind(listening.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listening.get(), 1) != 0) {
    os::fail(errno, "cannot listen at " + path);
  }
  std::cout << "listening" << std::endl;
  const os::Descriptor client{::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC)};
  protocol::Splitter splitter;
  Certification certification(mistake);
  for (;;) {
    std::array<std::byte, 4096> bytes{};
    std::vector<os::Descriptor> none;
    const os::Transfer got = os::receive_some(client, bytes, none);
    if (got.error == ECONNRESET) return 0;
    if (got.error != 0) os::fail(got.error, "receiving");
    splitter.add(std::span(bytes).first(got.bytes));
    while (const auto message = splitter.next()) {
      const std::string reply = certification.answer(protocol::parse_call(*message));
      for (auto rest = std::as_bytes(std::span(reply)); !rest.empty();) {
        const os::Transfer put = os::send_some(client, rest, {});
        if (put.error != 0) os::fail(put.error, "sending");
        rest = rest.subspan(put.bytes);
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 2) return 2;
  return serve(argv[1], argc > 2 ? argv[2] : "");
} catch (const std::exception& e) {
  std::cerr << "certification: " << e.what() << "\n";
  return 1;
}
