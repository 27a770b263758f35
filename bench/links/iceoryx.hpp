// Links through iceoryx 2 (Debian's C++ one, iceoryx_posh): a publisher that waits for its one subscriber. Its daemon,
// RouDi, must run (rou_di.hpp).
#pragma once

#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <iceoryx_hoofs/log/logmanager.hpp>
#include <iceoryx_posh/popo/untyped_publisher.hpp>
#include <iceoryx_posh/popo/untyped_subscriber.hpp>
#include <iceoryx_posh/runtime/posh_runtime.hpp>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "bench/loops.hpp"
#include "bench/rou_di.hpp"

namespace bench {

class IceoryxLink {
 public:
  class Sender {
   public:
    explicit Sender(std::unique_ptr<iox::popo::UntypedPublisher> publisher) noexcept
        : publisher_(std::move(publisher)) {}
    template <std::size_t Size>
    bool try_send(const Record<Size>& record) {
      return try_send(std::as_bytes(std::span(&record, 1)));
    }
    bool try_send(std::span<const std::byte> message) {
      // Subscribing goes by way of RouDi and takes a while; what is published before is lost.
      if (!subscribed_) return subscribed_ = publisher_->hasSubscribers(), false;
      auto chunk = publisher_->loan(static_cast<std::uint32_t>(message.size()));
      if (chunk.has_error()) return false;
      std::memcpy(chunk.value(), message.data(), message.size());
      publisher_->publish(chunk.value());
      return true;
    }

   private:
    std::unique_ptr<iox::popo::UntypedPublisher> publisher_;
    bool subscribed_ = false;
  };

  class Receiver {
   public:
    Receiver(std::unique_ptr<iox::popo::UntypedSubscriber> subscriber, std::size_t bytes) noexcept
        : subscriber_(std::move(subscriber)), bytes_(bytes) {}
    template <std::size_t Size>
    bool try_receive(Record<Size>& record) {
      const auto chunk = subscriber_->take();
      if (chunk.has_error()) return false;
      std::memcpy(&record, chunk.value(), sizeof record);
      subscriber_->release(chunk.value());
      return true;
    }
    std::span<const std::byte> peek() {
      const auto chunk = subscriber_->take();
      if (chunk.has_error()) return {};
      taken_ = chunk.value();
      return {static_cast<const std::byte*>(taken_), bytes_};
    }
    void release() noexcept { subscriber_->release(taken_); }

   private:
    std::unique_ptr<iox::popo::UntypedSubscriber> subscriber_;
    std::size_t bytes_;
    const void* taken_ = nullptr;
  };

  IceoryxLink(std::string name, std::size_t bytes) : name_(std::move(name)), bytes_(bytes) {}

  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  Sender open_sender() {
    join("near");
    iox::popo::PublisherOptions options;
    options.subscriberTooSlowPolicy = iox::popo::ConsumerTooSlowPolicy::WAIT_FOR_CONSUMER;
    return Sender(std::make_unique<iox::popo::UntypedPublisher>(service(), options));
  }
  Receiver open_receiver() {
    join("far");
    iox::popo::SubscriberOptions options;
    options.queueFullPolicy = iox::popo::QueueFullPolicy::BLOCK_PRODUCER;
    return {std::make_unique<iox::popo::UntypedSubscriber>(service(), options), bytes_};
  }
  void remove_names() noexcept {}  // RouDi's

 private:
  /// A process may say who it is once only, whichever end it opens first.
  static void join(const char* who) {
    static const bool joined = [who] {
      iox::log::LogManager::GetLogManager().SetDefaultLogLevel(iox::log::LogLevel::kError,
                                                               iox::log::LogLevelOutput::kHideLogLevel);
      const std::string name = iceoryx_name(::getppid(), who);
      iox::runtime::PoshRuntime::initRuntime(iox::RuntimeName_t(iox::cxx::TruncateToCapacity, name.c_str()));
      return true;
    }();
    static_cast<void>(joined);
  }
  [[nodiscard]] iox::capro::ServiceDescription service() const {
    return {"nimsync_bench", "link", iox::capro::IdString_t(iox::cxx::TruncateToCapacity, name_.c_str())};
  }

  std::string name_;
  std::size_t bytes_;
};

}  // namespace bench
