/* SPDX-License-Identifier: Apache-2.0 */
/* locks_renamed.h - names for base/locks.c beside libc's own; before any other header. */
#pragma once

#define pthread_mutex_init     locks_mutex_init
#define pthread_mutex_destroy  locks_mutex_destroy
#define pthread_mutex_lock     locks_mutex_lock
#define pthread_mutex_unlock   locks_mutex_unlock
#define pthread_cond_init      locks_cond_init
#define pthread_cond_destroy   locks_cond_destroy
#define pthread_cond_wait      locks_cond_wait
#define pthread_cond_broadcast locks_cond_broadcast
