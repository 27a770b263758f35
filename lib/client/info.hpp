// What the registry's messages say, as the public types have it.
//
// Threads: any; pure functions.
#pragma once

#include <optional>

#include "nimsync/registry.hpp"
#include "protocol/messages.hpp"

namespace nimsync {

inline std::optional<Peer> peer_of(const std::optional<protocol::Peer>& peer) {
  if (!peer) return std::nullopt;
  return Peer{.pid = peer->pid, .uid = peer->uid, .command = peer->command};
}

inline ChannelInfo info_of(const protocol::Channel& channel) {
  const protocol::Counts& counts = channel.counts;
  return {.name = channel.name,
          .geometry = channel.shape.geometry,
          .alignment = channel.shape.alignment,
          .type = channel.shape.type,
          .owner = channel.owner,
          .group = channel.group,
          .mode = channel.mode,
          .is_protected = channel.protect,
          .is_sealed = channel.sealed,
          .generation = channel.generation,
          .created = channel.created,
          .memory = channel.memory,
          .sender = peer_of(channel.sender),
          .receiver = peer_of(channel.receiver),
          .sent = counts.sent,
          .received = counts.received,
          .used = counts.used,
          .full_stalls = counts.full_stalls,
          .empty_stalls = counts.empty_stalls,
          .sender_sleeps = counts.sender_sleeps,
          .receiver_sleeps = counts.receiver_sleeps,
          .sender_rings = counts.sender_rings,
          .receiver_rings = counts.receiver_rings,
          .sender_spurious = counts.sender_spurious,
          .receiver_spurious = counts.receiver_spurious,
          .senders = counts.senders,
          .receivers = counts.receivers,
          .streams_closed = counts.streams_closed,
          .streams_received = counts.streams_received,
          .state = channel.state,
          .sender_barrier = channel.sender_barrier,
          .receiver_barrier = channel.receiver_barrier};
}

}  // namespace nimsync
