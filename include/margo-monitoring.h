/* margo-monitoring.h - the place of monitors in the interface.
 *
 * This build has no monitoring hooks: initialising an instance with a monitor fails with an error that says so.
 */
#ifndef MARGO_MONITORING_H
#define MARGO_MONITORING_H

struct margo_monitor;

#endif
