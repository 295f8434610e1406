#include "agent/poller.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace failover::agent {
namespace {

void AddToEpoll(int epoll, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

void Drain(int fd) {
  uint64_t count;
  while (read(fd, &count, sizeof count) > 0) {
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Poller>> Poller::Create() {
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  const int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  const int event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  const int error = errno;
  std::unique_ptr<Poller> poller(new Poller(epoll, timer, event));
  if (epoll < 0 || timer < 0 || event < 0) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no descriptors for the probe loop: ", std::strerror(error)));
  }
  AddToEpoll(epoll, timer);
  AddToEpoll(epoll, event);
  return poller;
}

Poller::~Poller() {
  for (const int fd : {epoll_, timer_, event_}) {
    if (fd >= 0) close(fd);
  }
}

void Poller::Watch(int fd, bool read, bool write, Handler handler) {
  epoll_event event{};
  event.events = (read ? EPOLLIN : 0u) | (write ? EPOLLOUT : 0u);
  event.data.fd = fd;
  handlers_[fd] = std::move(handler);
  // A number may have been closed and given out again without our knowledge.
  if (epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &event) != 0 && errno == ENOENT) {
    epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
  }
}

void Poller::Unwatch(int fd) {
  if (handlers_.erase(fd) > 0) epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
}

void Poller::Wait(absl::Duration at_most) {
  int timeout = -1;
  if (at_most <= absl::ZeroDuration()) {
    timeout = 0;
  } else {
    itimerspec when{};
    when.it_value = absl::ToTimespec(at_most);
    if (when.it_value.tv_sec == 0 && when.it_value.tv_nsec == 0) when.it_value.tv_nsec = 1;
    timerfd_settime(timer_, 0, &when, nullptr);
  }
  std::array<epoll_event, 128> events;
  const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), timeout);
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<size_t>(i)];
    const int fd = event.data.fd;
    if (fd == timer_ || fd == event_) {
      Drain(fd);
      continue;
    }
    const auto found = handlers_.find(fd);
    if (found == handlers_.end()) continue;
    const Handler handler = found->second;  // it may unwatch itself
    const bool broken = (event.events & (EPOLLERR | EPOLLHUP)) != 0;
    handler(broken || (event.events & EPOLLIN) != 0, broken || (event.events & EPOLLOUT) != 0);
  }
}

void Poller::Wake() {
  const uint64_t one = 1;
  // A full counter wakes as well.
  [[maybe_unused]] const ssize_t written = write(event_, &one, sizeof one);
}

}  // namespace failover::agent
