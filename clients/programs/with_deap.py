"""DEAP: an evolution whose individuals are judged in a pool."""

from __future__ import annotations

import multiprocessing
import random

from deap import algorithms, base, creator, tools

creator.create("Best", base.Fitness, weights=(1.0,))
creator.create("Individual", list, fitness=creator.Best)


def ones(individual):
    return (sum(individual),)


if __name__ == "__main__":
    random.seed(5)
    toolbox = base.Toolbox()
    toolbox.register("bit", random.randint, 0, 1)
    toolbox.register("individual", tools.initRepeat, creator.Individual, toolbox.bit, 40)
    toolbox.register("population", tools.initRepeat, list, toolbox.individual)
    toolbox.register("evaluate", ones)
    toolbox.register("mate", tools.cxTwoPoint)
    toolbox.register("mutate", tools.mutFlipBit, indpb=0.05)
    toolbox.register("select", tools.selTournament, tournsize=3)
    with multiprocessing.Pool(2) as pool:
        toolbox.register("map", pool.map)
        population = toolbox.population(60)
        algorithms.eaSimple(population, toolbox, 0.5, 0.2, 15, verbose=False)
    print(sorted(int(individual.fitness.values[0]) for individual in population)[-5:])
