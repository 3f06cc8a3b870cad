/* SPDX-License-Identifier: MIT */
#include "app.h"

void app_init(struct app *app, const struct app_conf *conf, const struct balancer *balancer,
	      const struct engine *engine)
{
	*app = (struct app){
		.conf = conf,
		.balancer = balancer,
		.engine = engine,
		.n_backends = conf->n_targets,
	};
	app->backends = xcalloc(conf->n_targets, sizeof(*app->backends));
	for (size_t i = 0; i < conf->n_targets; i++)
		backend_init(&app->backends[i], &conf->targets[i]);
}

void app_close(struct app *app)
{
	for (size_t i = 0; i < app->n_backends; i++)
		backend_close(&app->backends[i]);
	free(app->backends);
	free(app->wheel);
	free(app->schedule);
}
